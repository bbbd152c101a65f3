"""What every writer of a format gets and gives back. No torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .case import ExportCase
from .model import Model
from .options import Options
from .selection import Step


@dataclass
class Written:
    """What a writer made: one entry each of its `parts` for the data card, how the format is used (`usage`), and what to know (`notes`)."""

    parts: list[dict[str, Any]]
    usage: list[str]
    notes: list[str] = field(default_factory=list)


Writer = Callable[[Path, Sequence[ExportCase], Options, Model, Step], Written]


def write_json(path: Path, data: Any) -> None:
    """Write a JSON file, one item a line."""
    path.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
