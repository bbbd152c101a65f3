"""What the table of a cohort says of one case."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sketch2ct.anatomy import vocabulary
from sketch2ct.cohort.folder import Cohort
from sketch2ct.errors import Sketch2CTError
from sketch2ct.provenance import read_json

from .Readout import Readout


@dataclass(frozen=True)
class ReviewRow:
    """One case: `volumeMl` and `dice` (of the sketch it follows least) from the readout, None where they were not measured.

    `gate` is `pass`, `flag`, `reject` or `none`, `reasons` say why; `problem` says what is wrong with a damaged case, else it is empty.
    """

    name: str
    structure: str = ""  # as it is displayed
    description: str = ""
    volumeMl: float | None = None
    dice: float | None = None
    gate: str = "none"
    reasons: tuple[str, ...] = ()
    readout: tuple[str, ...] = ()  # in words, a line each
    edits: int = 0  # newest edited mask
    problem: str = ""

    @property
    def flags(self) -> str:
        """The gate's verdict and its reasons in a few words; empty for a case that passed."""
        return "; ".join(self.reasons) or (self.gate if self.gate in ("flag", "reject") else "")

    @classmethod
    def read(cls, cohort: Cohort, name: str, *, blind: bool = False) -> ReviewRow:
        """From the case's files; of a blind reading the name alone. Never raises: a damaged case has its `problem`."""
        try:
            case = cohort.case(name)
            if blind:
                return cls(name)
            quality = case.manifest().get("quality") or {}
            words = read_json(case.folder / "request.json").get("description", "")
            measured = quality.get("structures", {}).get(case.structure, {})
            dice = [item["dice"] for item in quality.get("sketches", []) if item.get("dice") is not None]
            lines = tuple(f"{what}: {text}" for what, text, _verdict in Readout(quality).rows)
            known = vocabulary().get(case.structure)
            title = known.display if known else case.structure
            volume = measured.get("volume_ml")
            lowest = min(dice, default=None)
            edits = max(case.versions(), default=0)
            return cls(name, title, str(words), volume, lowest, case.gate, tuple(case.reasons), lines, edits)
        except Sketch2CTError as error:
            return cls(name, problem=str(error))
        except (AttributeError, KeyError, TypeError, ValueError, OSError) as error:  # JSON of another shape
            return cls(name, problem=f"{name} is damaged: {type(error).__name__}: {error}.")

    def sortKey(self, column: str) -> tuple[bool, Any]:
        """Cases without a value come last."""
        texts = {"case": self.name, "structure": self.structure, "description": self.description.lower()}
        values: dict[str, Any] = {**texts, "volume": self.volumeMl, "dice": self.dice, "flags": _GATES.get(self.gate, 3)}
        value = values.get(column)
        return value is None, value if value is not None else 0


_GATES = {"reject": 0, "flag": 1, "pass": 2}
