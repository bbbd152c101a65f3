"""One runner at a time in a cohort folder, on any file system and any platform: a file that says who holds it.

The file appears with its content in it (linked or renamed into place), and names machine, process and the process's start, so that a lock
whose process is gone, or whose number another process has now, is taken over.
"""

from __future__ import annotations

import json
import os
import platform
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..disk import created, process_lives, writing
from ..errors import BadRequest

LOCK = ".lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock. Raises BadRequest when a living runner has it, WriteFailed when it cannot be written."""
    path, token = folder / LOCK, uuid.uuid4().hex
    mine = {"host": platform.node(), "process": os.getpid(), "start": _start(os.getpid()), "since": created(), "token": token}
    _take(path, mine)
    for left in folder.glob(f"{LOCK}-*"):  # of runners that were killed while they started
        left.unlink(missing_ok=True)
    try:
        yield
    finally:
        if _held(path).get("token") == token:
            path.unlink(missing_ok=True)


def _take(path: Path, mine: dict[str, Any]) -> None:
    ready, text = path.with_name(f"{LOCK}-{mine['token']}"), json.dumps(mine)
    with writing(path.parent):
        try:
            for _ in range(3):
                ready.write_text(text, encoding="utf-8")
                if _placed(ready, path, text):
                    return
                _set_aside(path)
        finally:
            ready.unlink(missing_ok=True)
    raise BadRequest(f"Another run is starting in {path.parent}.", "Wait until it has ended.")


def _placed(ready: Path, path: Path, text: str) -> bool:
    """Put the finished lock, which holds `text`, in its place, unless there is one."""
    try:
        os.link(ready, path)
    except FileExistsError:
        return False
    except OSError:  # a file system without links
        try:
            with path.open("x", encoding="utf-8") as stream:
                stream.write(text)
        except FileExistsError:
            return False
    return True


def _set_aside(path: Path) -> None:
    """Remove a lock whose runner is gone. Raises BadRequest when it lives."""
    before = _held(path)
    if _alive(before):
        who = f"process {before.get('process')} on {before.get('host')}, since {before.get('since')}"
        raise BadRequest(f"Another run is at work in {path.parent} ({who}).", f"Wait until it has ended; if there is none, remove {path}.")
    aside = path.with_name(f"{LOCK}-stale-{uuid.uuid4().hex}")
    try:
        os.rename(path, aside)
    except FileNotFoundError:  # its owner, or another runner, was faster
        return
    if _held(aside).get("token") != before.get("token"):  # a new owner came in between: it keeps its lock
        os.rename(aside, path)
        return
    aside.unlink(missing_ok=True)


def _held(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _alive(lock: dict[str, Any]) -> bool:
    """Whether the runner of a lock may still be at work; a lock of another machine cannot be judged."""
    if not isinstance(lock.get("process"), int):
        return False  # cut off while it was written
    if lock.get("host") != platform.node():
        return True
    if not process_lives(lock["process"]):
        return False
    now = _start(lock["process"])
    return now is None or lock.get("start") is None or now == lock["start"]


def _start(process: int) -> str | None:
    """When a process began, in ticks since the machine did; None where the system does not tell. A zombie has begun at no time."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return "ended" if fields[0] in ("Z", "X") else fields[19]
