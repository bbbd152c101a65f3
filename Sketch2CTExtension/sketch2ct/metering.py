"""Seconds and peak memory of each stage of a run."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

_KIB = 1024
_PROC = Path("/proc/self")


class Meter:
    """Measures named stages: `seconds`, and `peak_memory_mb` (MiB of `host` and CUDA `device`, None if unknown)."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.seconds: dict[str, float] = {}
        self.peak_memory_mb: dict[str, dict[str, float | None]] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure the block as stage `name`."""
        on_cuda = self._device.type == "cuda"
        _restart_host_peak()
        if on_cuda:
            torch.cuda.reset_peak_memory_stats(self._device)
        start = time.perf_counter()
        yield
        if on_cuda:
            torch.cuda.synchronize(self._device)
        self.seconds[name] = round(time.perf_counter() - start, 3)
        device = round(torch.cuda.max_memory_allocated(self._device) / 2**20, 1) if on_cuda else None
        self.peak_memory_mb[name] = {"host": _host_peak_mb(), "device": device}


def _restart_host_peak() -> None:
    """Start the process's resident high-water mark again (Linux; elsewhere the mark is of the whole process)."""
    if sys.platform.startswith("linux"):
        try:
            (_PROC / "clear_refs").write_text("5")
        except OSError:  # a locked-down container: the mark then spans the whole process, as elsewhere
            return


def _host_peak_mb() -> float | None:
    """The resident high-water mark in MiB; None on Windows."""
    if sys.platform == "win32":
        return None
    import resource

    if sys.platform == "darwin":  # counts bytes there
        return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 1)
    for line in (_PROC / "status").read_text(encoding="ascii", errors="replace").splitlines() if _PROC.is_dir() else []:
        if line.startswith("VmHWM:"):  # ru_maxrss cannot be started again
            return round(int(line.split()[1]) / _KIB, 1)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _KIB, 1)
