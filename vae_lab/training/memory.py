"""How large a batch fits in memory: found by trying, and named where one does not fit."""

import copy
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from vae_lab import devices
from vae_lab.data import Images

Step = Callable[[nn.Module, torch.Tensor, torch.optim.Optimizer], object]


class BatchTooLarge(RuntimeError):
    """A batch that does not fit in the device's memory; the message names one that does."""


def largest_batch(model: nn.Module, images: Images, step: Step, *, at_most: int) -> int:
    """The largest power of two up to `at_most` whose training step fits in memory.

    step : takes a model, a batch and an optimizer, and moves the weights once

    Leaves model, random numbers and memory as they were. Raises `BatchTooLarge` if not one image fits.
    """
    size = 2 ** (max(1, min(at_most, len(images))).bit_length() - 1)
    while size and not _fits(model, images, size, step):
        size //= 2
    size = devices.least(size, images.device)
    if not size:
        raise BatchTooLarge(f"not even one image fits in the memory of {images.device}; use a smaller model")
    return size


@contextmanager
def explained(model: nn.Module, images: Images, step: Step, *, batch_size: int) -> Iterator[None]:
    """Say what would fit, when a batch of this size turns out not to."""
    try:
        yield
    except RuntimeError as error:
        if not devices.short_of_memory(error):
            raise
        peak = ""
        if images.device.type == "cuda":
            most, there = (
                torch.cuda.max_memory_allocated(images.device),
                torch.cuda.mem_get_info(images.device)[1],
            )
            peak = f"; the peak was {most / 2**30:.1f} GiB of {there / 2**30:.1f} GiB"
        cause = str(error).splitlines()[0]
        traceback.clear_frames(error.__traceback__)  # they hold what did fit of this step
    else:
        return
    model.zero_grad(set_to_none=True)
    fits = largest_batch(model, images, step, at_most=max(1, batch_size - 1))
    raise BatchTooLarge(
        f"a batch of {batch_size:,} images does not fit in the memory of {images.device}{peak} ({cause}). "
        f'{fits:,} images do: say batch_size={fits}, or batch_size="auto"'
    )


def _fits(model: nn.Module, images: Images, size: int, step: Step) -> bool:
    """Whether one step of Adam on so many images fits; on a copy, so that nothing changes."""
    try:
        trial = copy.deepcopy(model).train()
        optimizer = torch.optim.Adam(
            [p for p in trial.parameters() if p.requires_grad], fused=devices.fused(trial)
        )
        with devices.same_random_numbers_after(images.device):  # a dynamic view draws too
            step(trial, images.read(slice(0, size)), optimizer)
        return True
    except RuntimeError as error:
        if not devices.short_of_memory(error):
            raise
        return False
    finally:
        trial = optimizer = None
        devices.empty_cache(images.device)
