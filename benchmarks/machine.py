"""What this machine can do, measured: how fast it multiplies matrices and how fast it moves memory.

`torch.utils.benchmark` does the timing: it warms up, repeats, waits for the GPU and takes the median.
"""

import os
import platform
import subprocess
from collections.abc import Callable
from pathlib import Path

import torch

SIDES = {"cpu": (256, 512, 1024, 2048), "mps": (1024, 2048, 4096), "cuda": (2048, 4096, 8192)}
COPIED = {"cpu": 2**28, "mps": 2**29, "cuda": 2**31}  # bytes, many times the caches


def seconds(call: Callable[[], object], *, at_least: float = 0.2) -> float:
    """The median time of one `call()` in seconds, over repetitions that take `at_least` seconds in all."""
    from torch.utils.benchmark import Timer  # here, for it looks for a CUDA compiler and may complain

    timer = Timer("call()", globals={"call": call}, num_threads=torch.get_num_threads())
    return timer.blocked_autorange(min_run_time=at_least).median


def matmul_rate(dtype: torch.dtype, device: torch.device | str, *, at_least: float = 0.2) -> float:
    """Floating-point operations a second in a product of square matrices: the best of a few sizes.

    A product of (n, n) matrices counts 2 n³ operations: a multiplication and an addition each. The first
    factor is transposed, as in the gradient of a layer's weights: where a processor has no instructions
    for 16 bits, this order is ten times faster than the plain one, or more.
    """
    device, rates = torch.device(device), []
    for n in SIDES[device.type]:
        a, b = torch.randn(2, n, n, device=device).to(dtype)
        out = torch.empty_like(a)
        rates.append(
            2 * n**3 / seconds(lambda a=a, b=b, out=out: torch.mm(a.T, b, out=out), at_least=at_least)
        )
    return max(rates)


def copy_rate(device: torch.device | str, *, size: int | None = None, at_least: float = 0.2) -> float:
    """Bytes a second that move when a tensor is copied; each byte counts twice, read and written.

    size : bytes of the tensor; by default far more than the caches hold
    """
    device = torch.device(device)
    source = torch.ones((size or COPIED[device.type]) // 4, device=device)
    target = torch.empty_like(source)
    return 2 * 4 * source.numel() / seconds(lambda: target.copy_(source), at_least=at_least)


def describe(device: torch.device | str = "cpu") -> dict[str, str | int]:
    """What a time was measured on: kind and name of the device, threads, processor cores, torch's version."""
    device = torch.device(device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    return {
        "device": device.type,
        "name": name,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count() or 1,
        "torch": torch.__version__.split("+")[0],
    }


def _processor() -> str:
    """The processor's name as its maker gives it, and what kind it is where that cannot be read."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.split(":", 1)[1] for line in info.read_text().splitlines() if "model name" in line]
        return names[0].strip() if names else platform.machine()
    if platform.system() == "Darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, capture_output=True, text=True).stdout.strip() or platform.machine()
    return platform.processor() or platform.machine()
