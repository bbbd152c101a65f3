"""One verdict of one reviewer on one case."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import BadRequest

ACCEPTED, REJECTED, NEEDS_EDIT = "accepted", "rejected", "needs_edit"
STATUSES = (ACCEPTED, REJECTED, NEEDS_EDIT)
UNREVIEWED, DISPUTED = "unreviewed", "disputed"  # of a case; no single verdict says so
SCORES = ("realism", "anatomy", "agreement")
BEST_SCORE = 5
REAL, SYNTHETIC = "real", "synthetic"
GUESSES = (REAL, SYNTHETIC)


@dataclass(frozen=True)
class Verdict:
    """All that a reviewer says of a case at one time, and a row of the table `verdict`.

    `status` is one of STATUSES, or None while there are scores, a note or a guess alone; scores are 1 (poor) to 5 (good) or None;
    `guess` (blind reading) is `real`, `synthetic` or None; `mask_version` is the mask that was looked at, 0 the generated one.
    `id` and `at` (UTC) are given by the store; `undoes` is the id of the verdict that this one takes back. Raises BadRequest.
    """

    case_name: str
    reviewer: str
    status: str | None = None
    realism: int | None = None
    anatomy: int | None = None
    agreement: int | None = None
    note: str = ""
    guess: str | None = None
    mask_version: int = 0
    at: str = ""
    bundle_hash: str = ""
    id: str = ""
    undoes: str | None = None

    def __post_init__(self) -> None:
        if not self.case_name or not isinstance(self.case_name, str):
            raise BadRequest("A verdict needs the name of a case.")
        if not isinstance(self.reviewer, str) or not self.reviewer.strip():
            raise BadRequest("A verdict needs the name of its reviewer.", "Initials suffice.")
        for name, known in (("status", STATUSES), ("guess", GUESSES)):
            if getattr(self, name) not in (None, *known):
                raise BadRequest(f"The {name} of a verdict cannot be {getattr(self, name)!r}.", f"Use one of: {', '.join(known)}.")
        for name in SCORES:
            score = getattr(self, name)
            if score is not None and (type(score) is not int or not 1 <= score <= BEST_SCORE):
                raise BadRequest(f"The {name} of a verdict cannot be {score!r}.", f"Give a whole number from 1 to {BEST_SCORE}.")

    @property
    def says_nothing(self) -> bool:
        """Whether it is what an undo leaves of a first verdict."""
        return self.status is None and self.guess is None and not self.note and all(getattr(self, name) is None for name in SCORES)
