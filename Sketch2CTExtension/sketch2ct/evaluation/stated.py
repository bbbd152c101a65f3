"""What every report says of the run that made it: the command that repeats it, the machine, the split."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any

import torch

from .. import devices
from ..errors import BadRequest


def command(name: str, options: dict[str, Any]) -> str:
    """`sketch2ct NAME` with the options that are not None; of files and folders only the names."""
    words = ["sketch2ct", name]
    for key, value in options.items():
        if value is not None:
            words += [f"--{key}", value.name if isinstance(value, Path) else str(value)]
    return shlex.join(words)


def hardware(place: torch.device) -> dict[str, Any]:
    """`device`, `cpus` and the version of `torch`."""
    return {"device": devices.label(place), "cpus": os.cpu_count(), "torch": str(torch.__version__)}


def split_of(images: str, labels: str) -> str:
    """The split, for example `Va`, of two folder names. Raises BadRequest when they differ."""
    split = labels.removeprefix("labels")
    if images.removeprefix("images") != split:
        raise BadRequest(f"'{images}' and '{labels}' are not of the same split.", "Name for example imagesTs and labelsTs.")
    return split
