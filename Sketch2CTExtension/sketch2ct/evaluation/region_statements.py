"""Does a whole region do what a text says of it? Every stated number, word and relation, measured on the label map, one by one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..describe import Facts, Ranges, band
from ..describe.region import Statement
from ..describe.relations import holds
from . import metrics
from .obedience import WITHIN, WITHIN_DEG

KINDS = ("number", "word", "relation")


@dataclass(frozen=True)
class Verdict:
    """Of one thing that was said of a structure (a relation: of its first one), whether it is so."""

    kind: str
    what: str
    structure: str
    followed: bool


def judge(statement: Statement, facts: Mapping[str, Facts], ranges: Mapping[str, Ranges]) -> list[Verdict]:
    """Everything that a statement says. A number is followed within 20 % (10 degrees), a word on its side of the median ("average" by what
    would be called average, or nearly), a relation where it holds; nothing is of a structure that is missing."""
    found = []
    for name, said in statement.said.items():
        own = facts.get(name)
        for fact, asked in said.values.items():
            found.append(Verdict("number", fact, name, own is not None and _near(fact, getattr(own, fact), asked)))
        for fact, level in said.levels.items():
            if name in ranges:
                found.append(Verdict("word", fact, name, own is not None and _beside(getattr(own, fact), level, fact, ranges[name])))
    found += [Verdict("relation", r.kind, r.one, holds(r, facts)) for r in statement.relations]
    return found


def _near(fact: str, made: float, asked: float) -> bool:
    return abs(made - asked) <= WITHIN_DEG if fact == "tilt_deg" else metrics.volume_error(made, asked) <= WITHIN


def _beside(made: float, level: float, fact: str, ranges: Ranges) -> bool:
    rank = ranges.percentile(fact, made)
    if level == 50:
        return abs(band(rank)) <= 1
    return rank < 50 if level < 50 else rank > 50


def summarise(samples: list[list[Verdict]], seed: int) -> dict[str, Any]:
    """`followed` over all that was said, one value a text; the same by kind (`number`, `word`, `relation`) and `by_structure`."""
    names = list(dict.fromkeys(v.structure for own in samples for v in own))
    return {
        "followed": _share(samples, seed),
        **{kind: _share([[v for v in own if v.kind == kind] for own in samples], seed) for kind in KINDS},
        "by_structure": {name: _share([[v for v in own if v.structure == name] for own in samples], seed) for name in names},
    }


def _share(samples: list[list[Verdict]], seed: int) -> dict[str, Any]:
    return metrics.summary([sum(v.followed for v in own) / len(own) for own in samples if own], seed)
