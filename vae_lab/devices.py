"""Where to compute: the device, its random numbers, its precision, and other processes beside this one."""

import atexit
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from vae_lab.arguments import Device, Seed, checked, choice

PRECISIONS = ("float32", "bfloat16")
TORCHRUN = ("RANK", "MASTER_ADDR", "MASTER_PORT")  # what it sets besides the number of processes


def pick_device() -> torch.device:
    """The fastest device there is, CUDA before MPS before CPU; prints its name.

    Under `torchrun`, the device of this process, which joins the others here. Raises `OSError` if only some
    of torchrun's variables are set.
    """
    import torch._dynamo  # else the first optimizer does, and Ctrl-C in those seconds spoils every later one

    rank, processes = _of_torchrun("RANK", 0), _of_torchrun("WORLD_SIZE", 1)
    if processes > 1 and (missing := [name for name in TORCHRUN if name not in os.environ]):
        raise OSError(f"WORLD_SIZE is set, but {', '.join(missing)} not; start by torchrun, or unset it")
    if torch.cuda.is_available():
        device = torch.device("cuda", _of_torchrun("LOCAL_RANK", 0))
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


def _of_torchrun(name: str, otherwise: int) -> int:
    """A number that torchrun sets."""
    value = os.environ.get(name, str(otherwise))
    if not value.isdecimal():
        raise OSError(f"{name} must be a whole number, as torchrun sets it, got {value!r}; unset it")
    return int(value)


def of(model: nn.Module) -> torch.device:
    """The device that a model is on."""
    first = next(model.parameters(), None)
    return (first if first is not None else next(model.buffers(), torch.empty(0))).device


def fused(model: nn.Module) -> bool:
    """Whether Adam can step all of the weights in one kernel: the fastest way, not there on Apple's GPUs."""
    return of(model).type in ("cpu", "cuda")


# Random numbers


@checked
def seed_all(seed: Seed, device: Device = "cpu") -> torch.Generator:
    """Seed Python, NumPy and torch, and return a generator on `device` for explicit draws."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    return torch.Generator(device).manual_seed(seed)


@contextmanager
def same_random_numbers_after(device: torch.device) -> Iterator[None]:
    """Whatever is drawn inside, torch's random numbers outside go on as if nothing had been drawn."""
    with torch.random.fork_rng([] if device.type == "cpu" else [device], device_type=device.type):
        yield


def random_state(device: torch.device) -> dict[str, Tensor]:
    """The states of torch's random numbers, on the CPU and on `device`, one row a process."""
    states = {"cpu": torch.get_rng_state()}
    if device.type != "cpu":
        states["device"] = torch.get_device_module(device).get_rng_state()
    if process()[1] == 1:
        return {name: state[None] for name, state in states.items()}
    rows = {
        name: [torch.empty_like(s, device=device) for _ in range(process()[1])] for name, s in states.items()
    }
    for name, state in states.items():
        dist.all_gather(rows[name], state.to(device))
    return {name: torch.stack(each).cpu() for name, each in rows.items()}


def set_random_state(states: dict[str, Tensor], device: torch.device) -> None:
    """Go on with the random numbers that `random_state` found."""
    rank, _ = process()
    own = {name: rows[rank].clone() for name, rows in states.items()}  # torch reads a view from its start
    torch.set_rng_state(own["cpu"])
    if "device" in own:
        torch.get_device_module(device).set_rng_state(own["device"])


# Processes


def process() -> tuple[int, int]:
    """(number of this process, how many there are): (0, 1) unless `pick_device` joined a group."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def average(values: Tensor) -> Tensor:
    """The mean of `values` over all processes."""
    if process()[1] > 1:
        dist.all_reduce(values)
        values /= process()[1]
    return values


def least(value: int, device: torch.device) -> int:
    """The smallest of all processes' numbers."""
    if process()[1] == 1:
        return value
    shared = torch.tensor(value, device=device)
    dist.all_reduce(shared, dist.ReduceOp.MIN)
    return int(shared)


def agree(flag: bool, device: torch.device) -> bool:
    """Whether the flag is up in any process, so that all do what one of them decides."""
    return not least(int(not flag), device)


# Precision


@checked
def accelerated(
    model: nn.Module,
    objective: Callable,
    *,
    precision: Annotated[str, choice(*PRECISIONS)] = "float32",
    compile: bool = False,
) -> Callable:
    """The same objective, computed otherwise: in bfloat16, compiled, or beside other processes.

    precision : "bfloat16" runs the matrix products of the networks in 16 bits; weights stay in 32
    compile : by torch.compile; on CUDA this also records the step as one CUDA graph

    In a group of processes the gradient that `backward` leaves behind is the mean over all of them
    (torch's DistributedDataParallel).
    """
    device, result = of(model), objective
    if compile:
        result = torch.compile(result, mode="reduce-overhead" if device.type == "cuda" else None)
    result = in_precision(result, precision, device)
    if process()[1] > 1:
        replica = nn.parallel.DistributedDataParallel(_Replica(model, result))
        return lambda _, x: replica(x)
    return result


def in_precision(objective: Callable, precision: str, device: torch.device) -> Callable:
    """The same objective with its networks' products in `precision`."""
    if precision == "float32":
        return objective
    if not torch.amp.is_autocast_available(device.type):
        raise ValueError(
            f'precision="{precision}" is not there on {device.type} in torch {torch.__version__}; '
            'use "float32"'
        )

    def in_bfloat16(model, x):
        with torch.autocast(device.type, torch.bfloat16):
            return objective(model, x)

    return in_bfloat16


class _Replica(nn.Module):
    """What DistributedDataParallel wants to wrap: a module whose forward pass is the objective."""

    def __init__(self, model: nn.Module, objective: Callable):
        super().__init__()
        self.model, self.objective = model, objective

    def forward(self, x: Tensor):
        return self.objective(self.model, x)


# Memory


def short_of_memory(error: BaseException) -> bool:
    """Whether this is a device's way to say that its memory is used up."""
    words = ("out of memory", "can't allocate memory", "not enough memory")  # the CPU's, on Windows the last
    return isinstance(error, torch.cuda.OutOfMemoryError) or any(each in str(error) for each in words)


def empty_cache(device: torch.device) -> None:
    """Give back the memory that torch keeps for later."""
    if device.type != "cpu":
        torch.get_device_module(device).empty_cache()
