"""A process and all that it started, by number."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

_PROC = Path("/proc")


def kill(*pids: int | None) -> None:
    """End the processes `pids` and their descendants at once. Those that are gone, and None, are left out."""
    if sys.platform == "win32":
        _taskkill(pids)
    else:
        _signal(pids, signal.SIGKILL)


def terminate(*pids: int | None) -> None:
    """Ask the processes `pids` and their descendants to end. Does nothing on Windows, which has no such request."""
    if sys.platform != "win32":
        _signal(pids, signal.SIGTERM)


def descendants(*pids: int) -> list[int]:
    """The numbers of `pids` and of all that they started and that these started, parents before children."""
    children = defaultdict(list)
    for pid, parent in _parents().items():
        children[parent].append(pid)
    found = list(dict.fromkeys(pids))
    for pid in found:  # grows while it is read
        found += [child for child in children[pid] if child not in found]
    return found


def _signal(pids: tuple[int | None, ...], number: int) -> None:
    roots = [pid for pid in pids if pid is not None and pid > 1 and pid != os.getpid()]
    for pid in descendants(*roots) if roots else []:
        try:
            os.kill(pid, number)
        except OSError:  # it is gone, or another's by now
            continue


def _parents() -> dict[int, int]:
    """Process -> parent, of every process of this computer."""
    return _parentsOfProc() if (_PROC / "self" / "stat").exists() else _parentsOfPs()


def _parentsOfProc() -> dict[int, int]:
    found = {}
    for name in os.listdir(_PROC):
        if name.isdecimal():
            try:
                # "pid (name) state parent ...", and the name may hold anything
                found[int(name)] = int((_PROC / name / "stat").read_bytes().rpartition(b")")[2].split()[1])
            except (OSError, ValueError, IndexError):
                continue
    return found


def _parentsOfPs() -> dict[int, int]:
    try:
        listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, timeout=2, check=False).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    pairs = [line.split() for line in listed.splitlines()]
    return {int(pair[0]): int(pair[1]) for pair in pairs if len(pair) == 2 and all(word.isdecimal() for word in pair)}


def _taskkill(pids: tuple[int | None, ...]) -> None:
    for pid in {pid for pid in pids if pid is not None and pid > 1 and pid != os.getpid()}:
        # Not waited for; without a console window.
        subprocess.Popen(
            ["taskkill", "/PID", str(pid), "/T", "/F"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            creationflags=0x08000000,
        )
