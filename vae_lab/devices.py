"""Where to compute: the device, its random numbers, its memory, and other processes beside this one."""

import atexit
import copy
import os
import random
import traceback
from collections.abc import Callable
from contextlib import contextmanager

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn


class BatchTooLarge(RuntimeError):
    """A batch that does not fit in the device's memory; the message names one that does."""


def pick_device() -> torch.device:
    """The fastest device there is, CUDA before MPS before CPU; prints which.

    Under `torchrun`, the one of this process, which joins the others here.
    """
    import torch._dynamo  # else the first optimizer does, and Ctrl-C in those seconds spoils every later one

    rank, processes = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        torch.cuda.set_device(device)
        name = torch.cuda.get_device_name(device)
    elif torch.backends.mps.is_available() and processes == 1:
        device, name = torch.device("mps"), "Apple GPU"
    else:
        threads, cores = torch.get_num_threads(), os.cpu_count()
        device, name = torch.device("cpu"), f"{threads} thread{'s' * (threads > 1)} of {cores} cores"
    if processes > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        atexit.register(dist.destroy_process_group)
    if processes > 1:
        name = f"{name}, process {rank + 1} of {processes}"
    print(f"Computing on {device.type} ({name})", flush=True)
    return device


def seed_all(seed: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Seed Python, NumPy and torch, and return a generator on `device` for explicit draws."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    return torch.Generator(device).manual_seed(seed)


@contextmanager
def same_random_numbers_after(device: torch.device):
    """Whatever is drawn inside, torch's random numbers go on outside as if it had not been."""
    with torch.random.fork_rng([] if device.type == "cpu" else [device], device_type=device.type):
        yield


def random_state(device: torch.device) -> dict[str, Tensor]:
    """The states of torch's random numbers, on the CPU and on `device`, one row a process."""
    states = {"cpu": torch.get_rng_state()}
    if device.type != "cpu":
        states["device"] = torch.get_device_module(device).get_rng_state()
    return {name: _gather(state, device) for name, state in states.items()}


def set_random_state(states: dict[str, Tensor], device: torch.device) -> None:
    """Go on with the random numbers that `random_state` found."""
    rank, _ = place()
    own = {name: rows[rank].clone() for name, rows in states.items()}  # torch reads a view from its start
    torch.set_rng_state(own["cpu"])
    if "device" in own:
        torch.get_device_module(device).set_rng_state(own["device"])


def place() -> tuple[int, int]:
    """(number of this process, how many there are): (0, 1) unless `pick_device` joined a group."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def average(values: Tensor) -> Tensor:
    """The mean of `values` over all processes."""
    if place()[1] > 1:
        dist.all_reduce(values)
        values /= place()[1]
    return values


def agree(flag: bool, device: torch.device) -> bool:
    """Whether the flag is up in any process: what one of them decides, all do."""
    return bool(average(torch.tensor(float(flag), device=device)) > 0)


def accelerated(
    model: nn.Module, objective: Callable, *, precision: str = "float32", compile: bool = False
) -> Callable:
    """The same objective, computed otherwise: in bfloat16, compiled, or beside other processes.

    precision : "bfloat16" runs the matrix products of the networks in 16 bits; weights stay in 32
    compile : by torch.compile; on CUDA this also records the step as one CUDA graph

    In a group of processes the gradient that `backward` leaves behind is the mean over all of them
    (torch's DistributedDataParallel).
    """
    device = next(model.parameters()).device
    if precision not in ("float32", "bfloat16"):
        raise ValueError(f'precision must be "float32" or "bfloat16", got {precision!r}')
    result = objective
    if compile:
        result = torch.compile(result, mode="reduce-overhead" if device.type == "cuda" else None)
    if precision == "bfloat16":
        result = _in_bfloat16(result, device.type)
    if place()[1] > 1:
        replica = nn.parallel.DistributedDataParallel(_Replica(model, result))
        return lambda _, x: replica(x)
    return result


def largest_batch(model: nn.Module, images, objective: Callable, *, at_most: int) -> int:
    """The largest power of two up to `at_most` whose training step fits in memory, by trying.

    Leaves model, random numbers and memory as they were. Raises `BatchTooLarge` if not one image fits.
    """
    device = images.pixels.device
    size = 2 ** (max(1, min(at_most, len(images))).bit_length() - 1)
    while size and not _fits(model, images, size, objective):
        size //= 2
    size = int(-_most(-size, device))  # the smallest of all processes
    if not size:
        raise BatchTooLarge(f"not even one image fits in the memory of {device}; use a smaller model")
    return size


@contextmanager
def memory_explained(model: nn.Module, images, objective: Callable, *, batch_size: int):
    """Say what would fit, when a batch of this size turns out not to."""
    try:
        yield
    except RuntimeError as error:
        if not _out_of_memory(error):
            raise
        device = images.pixels.device
        peak = f"; the peak was {torch.cuda.max_memory_allocated(device) / 2**30:.1f} GiB of " * (
            device.type == "cuda"
        )
        if peak:
            peak += f"{torch.cuda.mem_get_info(device)[1] / 2**30:.1f} GiB"
        cause = str(error).splitlines()[0]
        traceback.clear_frames(error.__traceback__)  # they hold what did fit of this step
    else:
        return
    model.zero_grad(set_to_none=True)
    fits = largest_batch(model, images, objective, at_most=max(1, batch_size - 1))
    raise BatchTooLarge(
        f"a batch of {batch_size:,} images does not fit in the memory of {device}{peak} ({cause}). "
        f'{fits:,} images do: say batch_size={fits}, or batch_size="auto"'
    )


class _Replica(nn.Module):
    """What DistributedDataParallel wants to wrap: a module whose forward pass is the objective."""

    def __init__(self, model: nn.Module, objective: Callable):
        super().__init__()
        self.model, self.objective = model, objective

    def forward(self, x: Tensor):
        return self.objective(self.model, x)


def _in_bfloat16(objective: Callable, device_type: str) -> Callable:
    def in_bfloat16(model, x):
        with torch.autocast(device_type, torch.bfloat16):
            return objective(model, x)

    return in_bfloat16


def _fits(model: nn.Module, images, size: int, objective: Callable) -> bool:
    """Whether one step of Adam on so many images fits; on a copy, so that nothing changes."""
    device = images.pixels.device
    try:
        trial = copy.deepcopy(model).train()
        optimizer = torch.optim.Adam(trial.parameters(), fused=True)
        with same_random_numbers_after(device):  # a dynamic view draws too
            (-objective(trial, images.read(slice(0, size))).value.mean()).backward()
            optimizer.step()
        return True
    except RuntimeError as error:
        if not _out_of_memory(error):
            raise
        return False
    finally:
        trial = optimizer = None
        if device.type != "cpu":
            torch.get_device_module(device).empty_cache()


def _out_of_memory(error: RuntimeError) -> bool:
    words = str(error)
    return (
        isinstance(error, torch.cuda.OutOfMemoryError)
        or "out of memory" in words
        or "can't allocate memory" in words  # the CPU's, on Windows the next
        or "not enough memory" in words
    )


def _most(value: int, device: torch.device) -> int:
    if place()[1] == 1:
        return value
    shared = torch.tensor(value, device=device)
    dist.all_reduce(shared, dist.ReduceOp.MAX)
    return int(shared)


def _gather(state: Tensor, device: torch.device) -> Tensor:
    """(processes, n) from each process's n bytes."""
    if place()[1] == 1:
        return state[None]
    rows = [torch.empty_like(state, device=device) for _ in range(place()[1])]
    dist.all_gather(rows, state.to(device))
    return torch.stack(rows).cpu()
