"""Notebooks run side by side, each in a process with limits.

What makes it fast: this process has imported PyTorch, the book's package and everything else that notebooks
import, and each notebook runs in a copy of it (`os.fork`), which starts in milliseconds. No kernel is
started, nothing is drawn, and no traceback is set.
"""

import contextlib
import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import psutil

from . import kernel
from .assignment import Assignment
from .handed_in import Work
from .integrity import Guard

GRADED = "graded"
SETTINGS = {
    "CUDA_VISIBLE_DEVICES": "",  # the same results on every machine
    "MPLBACKEND": "Agg",
    "PIP_DRY_RUN": "1",  # a cell that installs something installs nothing
    "PIP_NO_INDEX": "1",
    "TQDM_DISABLE": "1",
}
SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of Linux's prctl: processes left behind become ours to end


@dataclass(frozen=True)
class Limits:
    """How many notebooks at once; seconds and megabytes for each, beyond the libraries' own memory."""

    jobs: int
    time: float
    memory: float


def side_by_side(
    works: Iterator[Work], assignment: Assignment, guard: Guard, limits: Limits
) -> Iterator[tuple[Work, list[dict], str]]:
    """Run each notebook; yield it, what happened in it, and how it ended, in the order in which they end."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SUBREAPER, 1)
    running: list[Run] = []
    try:
        while True:
            while len(running) < limits.jobs and (work := next(works, None)):
                running.append(Run(work, assignment, guard))
            if not running:
                return
            time.sleep(0.05)
            for run in list(running):
                if ending := run.ending(limits):
                    running.remove(run)
                    run.kill(beside={other.pid for other in running})
                    yield run.work, run.events, ending
    finally:
        for run in running:
            run.kill()


class Run:
    """A notebook that runs in a process of its own."""

    def __init__(self, work: Work, assignment: Assignment, guard: Guard):
        self.work, self.events, self._rest = work, [], b""
        self._mark = os.urandom(8).hex().encode()  # lines without it are not the kernel's
        self._before: dict[int, int] = {}  # bytes by process, when first seen
        self.pipe, writing = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            _child(work, assignment, guard, writing, self._mark)
        os.close(writing)
        os.set_blocking(self.pipe, False)
        self.started = self._measured = time.monotonic()
        self._memory()

    def ending(self, limits: Limits) -> str | None:
        """How it ended, or nothing while it runs."""
        ended, status = os.waitpid(self.pid, os.WNOHANG)
        self._read()
        if ended:
            return (self.events and self.events[-1].get("ended")) or _death(status)
        now = time.monotonic()
        if now - self.started > limits.time:
            return f"timed out after {limits.time:g} s"
        if now - self._measured > 0.2:
            self._measured = now
            if self._memory() > limits.memory * 1e6:
                return f"kernel died (out of memory: more than {limits.memory:g} MB)"
        return None

    def kill(self, beside: set[int] = frozenset()) -> None:
        """End the process, what it started, and what has lost its parent; spare the runs `beside`."""
        left = [each for each in psutil.Process().children() if each.pid not in beside]
        for each in [*left, *(below for one in left for below in _below(one))]:
            with contextlib.suppress(psutil.Error):
                each.kill()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        for each in left:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(each.pid, 0)
        self._read()
        os.close(self.pipe)

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self.pipe, 1 << 16):
                *lines, self._rest = (self._rest + data).split(b"\n")
                marked = (line for line in lines if line.startswith(self._mark))
                self.events += [json.loads(line.removeprefix(self._mark)) for line in marked]

    def _memory(self) -> int:
        """Bytes that it and what it started have taken since they started."""
        taken = 0
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self.pid)
            for each in [process, *_below(process)]:
                now = each.memory_info().rss
                taken += max(0, now - self._before.setdefault(each.pid, now))
        return taken


def _below(process: psutil.Process) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        return process.children(recursive=True)
    return []


def _child(work: Work, assignment: Assignment, guard: Guard, pipe: int, mark: bytes) -> None:
    """The new process: a group of its own, no terminal, nothing to read; it never returns."""
    send = kernel.sender(pipe, mark)
    try:
        os.setsid()
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nowhere, stream)
        os.closerange(3, pipe)
        os.closerange(pipe + 1, 4096)
        os.environ.update(SETTINGS)
        os.chdir(work.room)
        sys.path.insert(0, str(work.room))
        kernel.run(work.cells, assignment, guard, send)
        send(ended=GRADED)
    except BaseException as error:
        send(ended=f"the grader failed: {error!r}")
    finally:
        os._exit(0)


def _death(status: int) -> str:
    if os.WIFEXITED(status):
        return f"kernel died (exit code {os.WEXITSTATUS(status)})"
    number = os.WTERMSIG(status)
    killed = ", by the system, for lack of memory perhaps" if number == signal.SIGKILL else ""
    return f"kernel died ({signal.Signals(number).name}{killed})"
