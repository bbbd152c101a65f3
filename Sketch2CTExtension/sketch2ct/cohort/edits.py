"""Edited masks: written under another name, then renamed to the next free version. No torch, and no reader of images."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import BadRequest
from .case import EDIT, holds_something

Labels = Path | str | Callable[[Path], None]  # a label map to copy, or what writes one (.nii.gz) to the path it is given


def put_labels(labels: Labels, path: Path) -> None:
    """Copy or write a label map to `path`, and wait until it is on the disk. Raises BadRequest when none came of it."""
    if callable(labels):
        labels(path)
    else:
        if not Path(labels).is_file():
            raise BadRequest(f"There is no file {labels}.")
        shutil.copyfile(labels, path)
    if not holds_something(path) or path.read_bytes()[:2] != b"\x1f\x8b":
        raise BadRequest("The edited mask is no compressed NIfTI file.", "Save it as .nii.gz.")
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())


def publish(work: Path, edits: Path, number: int, facts: dict[str, Any]) -> int:
    """Rename a finished edit to the first free version from `number` on: another reviewer may have taken one meanwhile."""
    while True:
        write_json(work / EDIT, {"version": number, **facts})
        try:
            os.rename(work, edits / f"v{number:03d}")
            return number
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY) and not (edits / f"v{number:03d}").is_dir():
                raise
            number += 1


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Write a JSON file, and wait until it is on the disk."""
    with path.open("w", encoding="utf-8") as stream:
        stream.write(json.dumps(data, indent=1, ensure_ascii=False) + "\n")
        stream.flush()
        os.fsync(stream.fileno())
