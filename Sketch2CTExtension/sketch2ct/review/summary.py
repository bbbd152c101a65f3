"""What stands of each case of a cohort: its status and what every reviewer said. No torch."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..cohort.folder import Cohort
from ..errors import BadRequest
from .store import MergeReport, ReviewStore
from .verdict import DISPUTED, SCORES, STATUSES, UNREVIEWED

_HIDDEN = ("case_name", "id", "undoes")


def summary(cohort: Cohort) -> dict[str, Any]:
    """`cases`: case, structure, gate, reasons, status, verdicts (one of each reviewer); `counts` of the statuses; `damaged` cases."""
    store = ReviewStore(cohort.root)
    latest, said = store.latest(), store.statuses()
    cases = []
    for case in cohort.cases():
        own = [{k: v for k, v in asdict(row).items() if k not in _HIDDEN} for (name, _), row in sorted(latest.items()) if name == case.name]
        facts = {"case": case.name, "structure": case.structure, "gate": case.gate, "reasons": case.reasons}
        cases.append({**facts, "status": said.get(case.name, UNREVIEWED), "versions": case.versions(), "verdicts": own})
    found = Counter(case["status"] for case in cases)
    counts = {status: found[status] for status in (*STATUSES, DISPUTED, UNREVIEWED)}
    return {"cases": cases, "counts": counts, "damaged": cohort.damaged()}


def lines(report: dict[str, Any]) -> list[str]:
    """A `summary` as text: a case a line (case, status, structure, gate, what each reviewer said), and the counts."""
    found = []
    for case in report["cases"]:
        said = "; ".join(_said(verdict) for verdict in case["verdicts"])
        found.append("\t".join([case["case"], case["status"], case["structure"], case["gate"], said]))
    found += [f"{name}\tdamaged\t{reason}" for name, reason in report["damaged"].items()]
    return [*found, ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in report["counts"].items())]


def merge(cohort: Cohort, other: Path) -> MergeReport:
    """Add the verdicts of a copy's file. Raises BadRequest also when they are about the cases of another cohort."""
    store = ReviewStore(cohort.root)
    brought = ReviewStore.read_copy(other)
    known = set(cohort.names())
    strange = sorted({row.case_name for row in brought} - known)
    bundles = {row.bundle_hash for row in brought if row.bundle_hash}
    if brought and (len(strange) == len({row.case_name for row in brought}) or (cohort.bundle_hash and bundles - {cohort.bundle_hash})):
        told = f"{other} holds verdicts on another cohort" + (
            f" ('{strange[0]}' is none of these cases)." if strange else ", of another bundle."
        )
        raise BadRequest(told, "Merge copies of one cohort only.")
    return store.merge(other)


def _said(verdict: dict[str, Any]) -> str:
    scores = " ".join(str(verdict[name] or "-") for name in SCORES)
    parts = [verdict["reviewer"], (verdict["status"] or verdict["guess"] or "").replace("_", " ")]
    parts += [scores] if scores != "- - -" else []
    return " ".join(part for part in [*parts, verdict["note"]] if part)
