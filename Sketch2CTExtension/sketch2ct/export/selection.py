"""Which cases of a cohort, or of result folders, are exported, and why the others are not. No torch.

A case stands as its reviews say (`accepted`, `rejected`, `needs_edit`, `disputed`, `unreviewed`), but for one that no reviewer has
accepted and a gate has rejected: `rejected_by_gate`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from ..cohort.case import CohortCase
from ..cohort.folder import Cohort
from ..errors import BadRequest
from ..review.store import ReviewStore
from ..review.verdict import ACCEPTED, NEEDS_EDIT, REJECTED, UNREVIEWED, Verdict
from .case import ExportCase, file_names, is_sheared, squared, volumes_ml
from .options import NEWEST, Options
from .standing import BY_GATE, is_wanted, standing_of

Step = Callable[[str], None]  # told each case that is done; raises Cancelled


@dataclass
class Selection:
    """`cases` to export, and `standings` of all cases.

    `left_out` counts those that `include` leaves out; `skipped` is case -> why it cannot be exported.
    """

    cohort: Cohort
    cases: list[ExportCase]
    standings: Counter[str]
    left_out: Counter[str]
    skipped: dict[str, str]
    gates: Counter[str]
    reviewers: Counter[str] = field(default_factory=Counter)  # verdicts of each on the exported cases


def select(cohort: Cohort, options: Options, step: Step = lambda case: None) -> Selection:
    """Choose the cases, and read each to see that it is whole. Raises BadRequest when none is left, and says what to do."""
    if cohort.facts.get("holds_patients"):
        raise BadRequest(f"{cohort.root} is a blind reading and holds patients.", "Export the cohort that its synthetic cases are from.")
    latest: dict[str, list[Verdict]] = {}
    for (name, _), verdict in ReviewStore(cohort.root).latest().items():
        latest.setdefault(name, []).append(verdict)
    found, skipped = cohort.cases(), dict(cohort.damaged())
    keys = file_names([case.name for case in found])
    chosen: list[ExportCase] = []
    standings: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    for case in found:
        made = _standing(case, keys[case.name], latest.get(case.name, []), options)
        standings[made.standing] += 1
        if is_wanted(options.include, made.standing, made.mask_version, latest.get(case.name, [])):
            chosen.append(made)
        else:
            left_out[made.standing] += 1
    _check_any(cohort, chosen, standings, skipped)
    whole = _examined(chosen, options, skipped, step)
    if not whole:
        name, reason = next(iter(skipped.items()))
        raise BadRequest(f"None of the {len(chosen)} chosen cases of {cohort.root} can be exported. {name}: {reason}")
    gates = Counter(one.case.gate for one in whole)
    reviewers = Counter(verdict.reviewer for one in whole for verdict in latest.get(one.case.name, []) if verdict.status)
    return Selection(cohort, whole, standings, left_out, skipped, gates, reviewers)


def _standing(case: CohortCase, key: str, verdicts: list[Verdict], options: Options) -> ExportCase:
    versions = case.versions() if options.masks == NEWEST else []
    standing = standing_of(case.gate, verdicts)
    accepted = [verdict.mask_version for verdict in verdicts if verdict.status == ACCEPTED]
    judged = max(accepted) if standing == ACCEPTED else None
    return ExportCase(case, key, versions[-1] if versions else 0, standing, judged)


def _check_any(cohort: Cohort, chosen: list[ExportCase], standings: Counter[str], skipped: dict[str, str]) -> None:
    if chosen:
        return
    total = sum(standings.values())
    if not total:
        told = f"{cohort.root} has no complete case" + (f"; {len(skipped)} are damaged." if skipped else ".")
        raise BadRequest(told, "Run 'sketch2ct cohort' on it first.")
    told = ", ".join(f"{count} {_WORDS[standing]}" for standing, count in sorted(standings.items()))
    hint = "Review them in 3D Slicer, or take the others too with --include unrejected or --include all."
    raise BadRequest(f"Of the {total} cases of {cohort.root} none is accepted: {told}.", hint)


_WORDS = {
    ACCEPTED: "accepted",
    REJECTED: "rejected",
    NEEDS_EDIT: "to be edited",
    "disputed": "disputed",
    UNREVIEWED: "waiting for review",
    BY_GATE: "rejected by a gate",
}


def _examined(chosen: list[ExportCase], options: Options, skipped: dict[str, str], step: Step) -> list[ExportCase]:
    """The cases that are whole and have the structures that are asked for, with what their masks hold; `skipped` grows."""
    whole = []
    for one in chosen:
        try:
            whole.append(_read(one, options))
        except BadRequest as error:
            skipped[one.case.name] = error.message
        step(one.case.name)
    return whole


def _read(one: ExportCase, options: Options) -> ExportCase:
    if not one.case.ct_path.is_file():
        raise BadRequest("It has a mask alone, and this format needs a CT.")
    one.seed()
    labels, ct = one.images()
    sheared = is_sheared(ct.grid)
    if sheared:
        labels, ct = squared(labels, ct)
    volumes = volumes_ml(labels)
    if not volumes:
        raise BadRequest("Its mask is empty.")
    lacking = [name for name in options.structures if name not in volumes]
    if lacking:
        raise BadRequest(f"It has no {', '.join(lacking)}.")
    volumes = {name: volume for name, volume in volumes.items() if name in options.structures or not options.structures}
    return replace(one, volumes_ml=volumes, grid=ct.grid, sheared=sheared)
