"""How many cases of a session each kind of export would give. No Qt, no MRML."""

from __future__ import annotations

from sketch2ct.export.options import INCLUDES, NEWEST
from sketch2ct.export.standing import is_wanted, standing_of

from .ReviewSession import ReviewSession


def exportCounts(session: ReviewSession, masks: str) -> dict[str, int]:
    """`include` -> number of cases; damaged ones are left out. `masks`: `newest` or `generated`."""
    counts = dict.fromkeys(INCLUDES, 0)
    verdicts = session.verdictsByCase()
    for name in session.names:
        row, said = session.row(name), verdicts.get(name, [])
        if row.problem:
            continue
        standing, version = standing_of(row.gate, said), row.edits if masks == NEWEST else 0
        for include in INCLUDES:
            counts[include] += is_wanted(include, standing, version, said)
    return counts
