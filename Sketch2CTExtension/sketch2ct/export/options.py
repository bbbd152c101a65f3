"""What can be chosen of an export, checked once."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..anatomy import resolve
from ..errors import BadRequest

FORMATS = ("nnunet", "monai", "dicom", "totalsegmentator")
ACCEPTED, UNREJECTED, ALL = INCLUDES = ("accepted", "unrejected", "all")
NEWEST, GENERATED = MASKS = ("newest", "generated")
MAX_DATASET_ID = 999  # three digits in the folder's name
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True)
class Options:
    """`to` is the format; `include` which cases by their reviews; `masks` which version of theirs.

    `structures`: only these, of the cases that have them all; empty for whatever each case has. `folds` parts for validation,
    drawn with `seed`, which also goes into the identifiers of DICOM objects. Raises BadRequest.
    """

    to: str
    include: str = ACCEPTED
    masks: str = NEWEST
    structures: tuple[str, ...] = ()
    name: str = "Sketch2CT"
    dataset_id: int = 801
    folds: int = 5
    seed: int = 0
    reviewers: bool = False  # whether the data card names them

    def __post_init__(self) -> None:
        for what, value, known in (("format", self.to, FORMATS), ("include", self.include, INCLUDES), ("masks", self.masks, MASKS)):
            if value not in known:
                raise BadRequest(f"Unknown {what} '{value}'.", f"Use one of: {', '.join(known)}.")
        if not _NAME.fullmatch(self.name):
            raise BadRequest(f"The name {self.name!r} cannot be that of a data set.", "Use letters, digits, '-' and '_', at most 64.")
        if not 1 <= self.dataset_id <= MAX_DATASET_ID:
            raise BadRequest(f"The data set's number cannot be {self.dataset_id}.", f"Use 1 to {MAX_DATASET_ID}.")
        if not 2 <= self.folds <= 100:
            raise BadRequest(f"'folds' cannot be {self.folds}.", "Use 2 to 100.")
        if not 0 <= self.seed < 2**63:
            raise BadRequest(f"'seed' cannot be {self.seed}.", "Use a whole number from 0 on.")
        object.__setattr__(self, "structures", tuple(dict.fromkeys(resolve(name) for name in self.structures)))
