"""How a case stands before an export, and which exports take it: the one place that says so. No torch, and no reader of images."""

from __future__ import annotations

from collections.abc import Sequence

from ..review.store import statuses
from ..review.verdict import ACCEPTED, NEEDS_EDIT, REJECTED, UNREVIEWED, Verdict
from .options import ACCEPTED as ONLY_ACCEPTED
from .options import ALL

BY_GATE = "rejected_by_gate"


def standing_of(gate: str, verdicts: Sequence[Verdict]) -> str:
    """What the newest verdict of each reviewer on one case comes to; BY_GATE when its gate rejected it and nobody has judged it."""
    standing = next(iter(statuses(verdicts).values()), UNREVIEWED)
    return BY_GATE if gate == "reject" and standing == UNREVIEWED else standing


def is_wanted(include: str, standing: str, mask_version: int, verdicts: Sequence[Verdict]) -> bool:
    """Whether `include` takes a case. `unrejected` leaves out what somebody rejected, and a mask that was to be edited and was not."""
    if include == ALL or standing == ACCEPTED:
        return True
    if include == ONLY_ACCEPTED or standing == BY_GATE or any(verdict.status == REJECTED for verdict in verdicts):
        return False
    return all(mask_version > verdict.mask_version for verdict in verdicts if verdict.status == NEEDS_EDIT)
