"""Result folders that no cohort run has made, read as the cases of a cohort. No torch, and no reader of images."""

from __future__ import annotations

import json
from pathlib import Path

from ..provenance import read_json
from ..request import GenerationRequest
from .case import COHORT_VERSION, EDITS, NAMES, PARTS, UNGATED, CohortCase, folders


def result_folders(root: Path) -> dict[str, Path]:
    """Name -> result folder: the root itself, or those one or two levels below it."""
    if _is_result(root):
        return {root.name: root}
    found: dict[str, Path] = {}
    for first in sorted(folders(root)):
        if _is_result(root / first):
            found[first] = root / first
            continue
        for second in sorted(folders(root / first)):
            if _is_result(root / first / second):
                found[f"{first}-{second}"] = root / first / second
    return found


def _is_result(folder: Path) -> bool:
    return not folder.name.startswith(".") and all((folder / part).is_file() for part in PARTS)


def ungated(name: str, folder: Path, root: Path, groups: dict[str, str]) -> CohortCase:
    """A result folder as a case; `groups` (request without its seed -> group) grows. Raises BadRequest."""
    request = GenerationRequest.read(folder / "request.json")
    asked = json.dumps({key: value for key, value in request.to_dict().items() if key != "seed"}, sort_keys=True)
    group = groups.setdefault(asked, f"g{len(groups) + 1:04d}")
    made = request.structures() or list(read_json(folder / NAMES).values())
    facts = {"version": COHORT_VERSION, "case": name, "group": group, "source": str(folder), "structure": str(made[0]) if made else ""}
    facts |= {"drawn": {}, "gate": {"verdict": UNGATED, "reasons": []}}
    return CohortCase(name, folder, facts, root / EDITS / name)
