"""How the structures of one region compare: what is measured, and its wordings. No torch.

A relation is spoken in two directions ("larger", "smaller") and kept in one, so that both wordings are the same statement.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..anatomy import vocabulary
from .measure import Facts

KINDS = ("larger", "equal", "above", "in_front")
OPPOSITE = {"smaller": "larger", "below": "above", "behind": "in_front"}
AXES = {"above": 2, "in_front": 1}  # along RAS
EQUAL = 1.10  # volumes within this ratio are about equal: two observers' parotids differ by as much
BESIDE_MM = 4.0  # middles nearer than this along an axis are level: a voxel of the frame
VARIES = 0.1  # a relation is worth words when the rarer direction holds in so many of the cases

# What stands between two structures, after "is", "lies" or nothing.
WORDS = {
    "larger": ("larger than", "bigger than", "larger in volume than"),
    "smaller": ("smaller than", "smaller in volume than"),
    "equal": ("about as large as", "of about the same size as", "as large as"),
    "above": ("higher than", "above", "superior to"),
    "below": ("lower than", "below", "inferior to"),
    "in_front": ("in front of", "anterior to", "further forward than"),
    "behind": ("behind", "posterior to", "further back than"),
}


@dataclass(frozen=True)
class Relation:
    """`kind` (one of KINDS) holds of `one` against `other`; the structures of an "equal" are in the vocabulary's order."""

    kind: str
    one: str
    other: str

    @classmethod
    def of(cls, kind: str, one: str, other: str) -> Relation:
        """The relation in its one direction, of a kind in either. Raises ValueError for an unknown kind."""
        if kind in OPPOSITE:
            return cls(OPPOSITE[kind], other, one)
        if kind not in KINDS:
            raise ValueError(f"A relation is one of {', '.join((*KINDS, *OPPOSITE))}, not {kind!r}.")
        order = list(vocabulary())
        if kind == "equal" and order.index(one) > order.index(other):
            one, other = other, one
        return cls(kind, one, other)


@dataclass(frozen=True)
class Pair:
    """Two structures whose order along an axis ("above", "in_front") varies between people."""

    kind: str
    one: str
    other: str


def varying(cases: Sequence[Mapping[str, Facts]], structures: Sequence[str]) -> tuple[Pair, ...]:
    """The pairs whose order is worth words: in VARIES of the cases that hold both, at least, it is the one, and in as many the other."""
    found = []
    for n, one in enumerate(structures):
        for other in structures[n + 1 :]:
            for kind in AXES:
                ways = [_way(kind, case[one], case[other]) for case in cases if one in case and other in case]
                if ways and min(sum(w > 0 for w in ways), sum(w < 0 for w in ways)) >= max(1.0, VARIES * len(ways)):
                    found.append(Pair(kind, one, other))
    return tuple(found)


def _way(kind: str, one: Facts, other: Facts) -> int:
    """1 where the relation holds of the one, -1 where it does of the other, 0 where they are level."""
    away = one.centroid_ras[AXES[kind]] - other.centroid_ras[AXES[kind]]
    return 0 if abs(away) <= BESIDE_MM else (1 if away > 0 else -1)


def measured(facts: Mapping[str, Facts], pairs: Iterable[Pair] = ()) -> list[Relation]:
    """Every relation that holds: the volumes of mirror partners, and the order of the `pairs` that are not level."""
    found = []
    for name in facts:
        twin = vocabulary()[name].mirror
        if twin and twin in facts and vocabulary()[name].laterality == "right":
            ratio = facts[name].volume_ml / facts[twin].volume_ml
            kind = "larger" if ratio > EQUAL else "smaller" if ratio < 1 / EQUAL else "equal"
            found.append(Relation.of(kind, name, twin))
    for pair in pairs:
        if pair.one in facts and pair.other in facts:
            way = _way(pair.kind, facts[pair.one], facts[pair.other])
            if way:
                found.append(Relation(pair.kind, *((pair.one, pair.other) if way > 0 else (pair.other, pair.one))))
    return found


def holds(relation: Relation, facts: Mapping[str, Facts]) -> bool:
    """Whether a stated relation is true of measured structures; false where one is missing.

    No margin is asked of "larger" and of positions; "about as large as" is judged by twice the margin that it is said with.
    """
    if relation.one not in facts or relation.other not in facts:
        return False
    one, other = facts[relation.one], facts[relation.other]
    if relation.kind in AXES:
        return one.centroid_ras[AXES[relation.kind]] > other.centroid_ras[AXES[relation.kind]]
    ratio = one.volume_ml / other.volume_ml
    return ratio > 1 if relation.kind == "larger" else 1 / EQUAL**2 <= ratio <= EQUAL**2
