"""A cohort on disk, for reading and for edits of its masks. No torch, and no reader of images: 3D Slicer imports this.

DIR/cohort.json          version, spec (resolved), total, bundle, bundle_hash, versions, created; written once, before the first case
    cases/<case>/        a result folder (ct.nii.gz, labels.nii.gz, labels.json, request.json, manifest.json), case.json and thumb.png
    failed/<case>.json   case, attempts, code, message, hint, when; goes when the case succeeds
    edits/<case>/v001/   labels.nii.gz, labels.json, edit.json (case, version, reviewer, when, base: the version edited; 0: generated)
    reviews.sqlite       verdicts
    .work/               half-made things

case.json: version, case, group, source, structure, drawn (what was varied, and to what), gate (verdict pass, flag or reject; reasons).
A folder in `cases` and in `edits` is complete or does not exist: both are written under another name and renamed.
"""

from __future__ import annotations

import shutil
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..disk import created, writing
from ..errors import BadRequest
from ..provenance import read_json
from .case import (
    CASE,
    CASE_KEYS,
    CASE_NAME,
    CASES,
    COHORT,
    COHORT_VERSION,
    EDITS,
    FAILED,
    LABELS,
    NAMES,
    PARTS,
    REVIEWS,
    CohortCase,
    folders,
    holds_something,
)
from .edits import Labels, publish, put_labels, write_json
from .loose import result_folders, ungated

__all__ = ["COHORT", "Cohort", "CohortCase"]

_KEYS = {"spec": dict, "total": int, "bundle": str, "bundle_hash": str}


@dataclass(frozen=True)
class Cohort:
    """A cohort folder, or a folder of results that is read as one. Make it with `open`, `of_results` or `find`."""

    root: Path
    facts: dict[str, Any]  # cohort.json
    _results: dict[str, CohortCase] | None = field(default=None, repr=False)  # of `of_results`

    @classmethod
    def open(cls, path: str | Path) -> Cohort:
        """The cohort in a folder. Raises BadRequest when it is none, or its cohort.json is damaged."""
        root = Path(path).expanduser().absolute()
        if not (root / COHORT).is_file():
            raise BadRequest(f"{root} is no cohort: it has no {COHORT}.", "Name the folder that 'sketch2ct cohort --out' made.")
        hint = f"Restore {COHORT} from a copy, or run 'sketch2ct cohort' into a new folder; the cases themselves are unharmed."
        try:
            facts = read_json(root / COHORT)
        except BadRequest as error:
            raise BadRequest(error.message, hint) from error
        if facts.get("version") != COHORT_VERSION:
            known = f"This program reads version {COHORT_VERSION}."
            raise BadRequest(f"{root / COHORT} has version {facts.get('version')!r}.", f"{known} {hint}")
        wrong = [key for key, kind in _KEYS.items() if not isinstance(facts.get(key), kind)]
        if wrong:
            raise BadRequest(f"{root / COHORT} is damaged: it lacks a valid {', '.join(wrong)}.", hint)
        return cls(root, facts)

    @classmethod
    def of_results(cls, path: str | Path) -> Cohort:
        """A result folder, or a folder that holds result folders (and sample-001 and so on in them), read as a cohort.

        Cases of the same request but for the seed share a group; no gate has judged them. Raises BadRequest when there is no result.
        """
        root = Path(path).expanduser().absolute()
        found = result_folders(root)
        if not found:
            raise BadRequest(f"{root} holds neither a cohort nor a result.", "Name a folder that 'sketch2ct cohort' or 'generate' made.")
        groups: dict[str, str] = {}
        cases = {name: ungated(name, folder, root, groups) for name, folder in found.items()}
        first = read_json(next(iter(found.values())) / "manifest.json")
        bundle = {"bundle": str(first.get("bundle", "")), "bundle_hash": str(first.get("bundle_hash", ""))}
        return cls(root, {"version": COHORT_VERSION, "spec": {}, "total": len(cases), **bundle}, cases)

    @classmethod
    def find(cls, path: str | Path) -> Cohort:
        """`open` where there is a cohort.json, else `of_results`. Raises BadRequest."""
        return cls.open(path) if (Path(path).expanduser() / COHORT).is_file() else cls.of_results(path)

    @property
    def spec(self) -> dict[str, Any]:
        """What was asked for, every default filled in; empty for results."""
        return dict(self.facts["spec"])

    @property
    def total(self) -> int:
        """How many cases the whole cohort has; fewer may be complete."""
        return int(self.facts["total"])

    @property
    def bundle(self) -> str:
        """The name of the bundle that made it."""
        return str(self.facts["bundle"])

    @property
    def bundle_hash(self) -> str:
        """The bundle's hash."""
        return str(self.facts["bundle_hash"])

    @property
    def reviews_path(self) -> Path:
        """Where the verdicts are kept."""
        return self.root / REVIEWS

    def names(self) -> list[str]:
        """The names of the complete cases, sorted. Lists the folder, opens nothing."""
        if self._results is not None:
            return sorted(self._results)
        return sorted(name for name in folders(self.root / CASES) if CASE_NAME.fullmatch(name))

    def case(self, name: str) -> CohortCase:
        """One case. Raises BadRequest when there is none of that name, or it is damaged."""
        if self._results is not None and name in self._results:
            return self._results[name]
        folder = self.root / CASES / name
        if self._results is not None or not CASE_NAME.fullmatch(name) or not folder.is_dir():
            raise BadRequest(f"{self.root} has no complete case '{name}'.", "List them with Cohort.names().")
        hint = f"Remove the folder {folder} and run 'sketch2ct cohort' again: it makes the same case once more."
        missing = [part for part in PARTS if not holds_something(folder / part)]
        if missing:
            raise BadRequest(f"{name} is damaged: {', '.join(missing)} is missing or empty.", hint)
        try:
            facts = read_json(folder / CASE)
        except BadRequest as error:
            raise BadRequest(f"{name} is damaged: {error.message}", hint) from error
        wrong = [key for key, kind in CASE_KEYS.items() if not isinstance(facts.get(key), kind)]
        if wrong:
            raise BadRequest(f"{name} is damaged: its {CASE} lacks a valid {', '.join(wrong)}.", hint)
        return CohortCase(name, folder, facts, self.root / EDITS / name)

    def cases(self) -> list[CohortCase]:
        """Every complete case, in the order of `names`; damaged ones are left out."""
        return [case for case, _ in self._examined() if case is not None]

    def damaged(self) -> dict[str, str]:
        """Case name -> what is wrong with it, for those that `cases` leaves out."""
        return {name: problem for name, (case, problem) in zip(self.names(), self._examined(), strict=True) if case is None}

    def _examined(self) -> list[tuple[CohortCase | None, str]]:
        found: list[tuple[CohortCase | None, str]] = []
        for name in self.names():
            try:
                found.append((self.case(name), ""))
            except BadRequest as error:
                found.append((None, str(error)))
        return found

    def failed(self) -> list[dict[str, Any]]:
        """What could not be made, by case: case, attempts, code, message, hint, when."""
        found = []
        for path in sorted((self.root / FAILED).glob("case-*.json")) if self._results is None else []:
            try:
                found.append(read_json(path))
            except BadRequest as error:
                unknown = {"attempts": 1, "code": "internal", "message": error.message, "hint": "", "when": ""}
                found.append({"case": path.stem, **unknown})
        return found

    def add_edit(self, case: str, labels: Labels, reviewer: str, *, names: dict[int, str] | None = None, base: int | None = None) -> int:
        """Keep an edited mask as the case's next version; its number. It is on disk, complete, when this returns.

        `labels` is a .nii.gz to copy, or is called with the path to write one to. `names` are its values' (by default those of the
        version edited), `base` is that version (by default the newest). Raises BadRequest or WriteFailed.
        """
        chosen = self.case(case)
        known = chosen.versions()
        base = (known[-1] if known else 0) if base is None else base
        table = names if names is not None else chosen.names(base)
        work = chosen.edits / f".half-{uuid.uuid4().hex}"  # not in .work, which a cohort run sweeps
        with writing(self.root / EDITS):
            try:
                work.mkdir(parents=True)
                put_labels(labels, work / LABELS)
                write_json(work / NAMES, {str(value): name for value, name in sorted(table.items())})
                facts = {"case": case, "reviewer": reviewer, "when": created(), "base": base}
                return publish(work, chosen.edits, (known[-1] if known else 0) + 1, facts)
            finally:
                shutil.rmtree(work, ignore_errors=True)
