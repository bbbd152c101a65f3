"""One case of a cohort, as it lies on disk; `folder` tells where. No torch, and no reader of images."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import BadRequest
from ..provenance import read_json
from ..request import GenerationRequest

COHORT_VERSION = 1
COHORT, CASE, EDIT = "cohort.json", "case.json", "edit.json"
CASES, FAILED, EDITS, WORK = "cases", "failed", "edits", ".work"
REVIEWS, THUMB = "reviews.sqlite", "thumb.png"
LABELS, NAMES, CT = "labels.nii.gz", "labels.json", "ct.nii.gz"
PARTS = (LABELS, NAMES, "request.json", "manifest.json")  # what a result folder cannot lack; a mask alone has no CT
UNGATED = "none"  # the verdict of results that no cohort run has judged
CASE_NAME = re.compile(r"case-\d{5,}")
_EDIT_NAME = re.compile(r"v(\d{3,})")
CASE_KEYS = {"group": str, "source": str, "structure": str, "drawn": dict, "gate": dict}


def case_name(number: int) -> str:
    """The name of the case at place `number` of the plan, counted from 1."""
    return f"case-{number:05d}"


@dataclass(frozen=True)
class CohortCase:
    """One complete case: `folder` holds its result, `facts` is its case.json, `edits` is where the versions of its mask lie."""

    name: str
    folder: Path
    facts: dict[str, Any]
    edits: Path

    @property
    def group(self) -> str:
        """What it shares with the other cases of its base request; a group is never split."""
        return str(self.facts["group"])

    @property
    def source(self) -> str:
        """What it was made from, in words."""
        return str(self.facts["source"])

    @property
    def structure(self) -> str:
        """The first structure of its request."""
        return str(self.facts["structure"])

    @property
    def structures(self) -> tuple[str, ...]:
        """All structures that its generated label map names, in the order of their values. Raises BadRequest."""
        return tuple(self.names(0).values())

    @property
    def gate(self) -> str:
        """`pass`, `flag` or `reject`; `none` where no gate has judged."""
        return str(self.facts["gate"].get("verdict", UNGATED))

    @property
    def reasons(self) -> list[str]:
        """Why it was flagged or rejected, in plain sentences."""
        return [str(reason) for reason in self.facts["gate"].get("reasons", [])]

    @property
    def ct_path(self) -> Path:
        """The CT; there is no such file where the mask alone was made."""
        return self.folder / CT

    @property
    def thumb_path(self) -> Path:
        """The picture of three planes; there is no such file for results that no cohort run has made."""
        return self.folder / THUMB

    def request(self) -> GenerationRequest:
        """What was asked. Raises BadRequest."""
        return GenerationRequest.read(self.folder / "request.json")

    def manifest(self) -> dict[str, Any]:
        """Versions, bundle, seconds, quality readout. Raises BadRequest."""
        return read_json(self.folder / "manifest.json")

    def versions(self) -> list[int]:
        """The numbers of the edited masks, oldest first; empty when there is none."""
        found = (_EDIT_NAME.fullmatch(name) for name in folders(self.edits))
        return sorted(int(match[1]) for match in found if match)

    def labels_path(self, version: int | None = None) -> Path:
        """A mask: the newest edit, else the generated one (None); the generated one (0); or one edit. Raises BadRequest."""
        return self._mask_folder(version) / LABELS

    def names(self, version: int | None = None) -> dict[int, str]:
        """Value -> structure of a mask, `version` as in `labels_path`; in the order of the values. Raises BadRequest."""
        table = read_json(self._mask_folder(version) / NAMES)
        if not all(str(value).isdecimal() and isinstance(name, str) for value, name in table.items()):
            raise BadRequest(f"{self._mask_folder(version) / NAMES} does not pair values with names.", "Restore it from a backup.")
        return {int(value): table[value] for value in sorted(table, key=int)}

    def edit(self, version: int) -> dict[str, Any]:
        """Who edited a version of the mask, when, and from which one. Raises BadRequest."""
        return read_json(self._mask_folder(version) / EDIT)

    def _mask_folder(self, version: int | None) -> Path:
        known = self.versions() if version != 0 else []
        if version == 0 or (version is None and not known):
            return self.folder
        number = known[-1] if version is None else version
        if number not in known:
            listed = ", ".join(map(str, known)) or "none"
            raise BadRequest(f"{self.name} has no edited mask {number}.", f"There are: {listed}; 0 is the generated one.")
        return self.edits / f"v{number:03d}"


def folders(path: Path) -> list[str]:
    """The names of the folders in a folder; none when it does not exist."""
    try:
        with os.scandir(path) as entries:
            return [entry.name for entry in entries if entry.is_dir()]
    except (FileNotFoundError, NotADirectoryError):
        return []


def holds_something(path: Path) -> bool:
    """Whether there is a file that is not empty."""
    try:
        return path.stat().st_size > 0
    except OSError:
        return False
