"""Where to compute: the choice of a device by name, and what this machine offers."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import torch

from .errors import BadRequest

MIB = 2**20


def choose(name: str) -> torch.device:
    """The device of that name: `auto` (CUDA when there is one), `cpu`, `cuda` or `cuda:N`. Raises BadRequest."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda:0" if count else "cpu")
    if name == "cpu":
        return torch.device("cpu")
    number = name.removeprefix("cuda").removeprefix(":") or "0"
    if not name.startswith("cuda") or not number.isdecimal():
        raise BadRequest(f"Unknown device '{name}'.", "Use auto, cpu, cuda, or cuda:N.")
    if int(number) >= count:
        found = f"This machine has {count} CUDA device(s)." if count else "This machine has no CUDA device."
        raise BadRequest(f"The device '{name}' is not available. {found}", "Use --device cpu or auto.")
    return torch.device(f"cuda:{int(number)}")


def label(device: torch.device) -> str:
    """What a person calls the device: the GPU's product name, or the processor's architecture."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU ({platform.machine()})"


def describe_devices() -> list[dict]:
    """Every usable device: `name` (as a request takes it), `label`, and `free_mb` and `total_mb` (MiB or None)."""
    free, total = _host_memory_mb()
    cpu = torch.device("cpu")
    found = [{"name": "cpu", "label": label(cpu), "free_mb": free, "total_mb": total}]
    for number in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        device = torch.device(f"cuda:{number}")
        free_bytes, total_bytes = torch.cuda.mem_get_info(device)
        memory = {"free_mb": free_bytes // MIB, "total_mb": total_bytes // MIB}
        found.append({"name": str(device), "label": label(device), **memory})
    return found


def _host_memory_mb() -> tuple[int | None, int | None]:
    """Available and total host memory in MiB; None where the system does not tell."""
    table = Path("/proc/meminfo")
    if table.is_file():
        lines = (line.split(":", 1) for line in table.read_text(encoding="ascii").splitlines() if ":" in line)
        kib = {key: int(value.split()[0]) for key, value in lines}
        return kib["MemAvailable"] // 1024, kib["MemTotal"] // 1024
    if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {}):  # macOS tells the total only
        return None, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // MIB
    return None, None
