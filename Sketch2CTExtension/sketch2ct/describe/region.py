"""Whole-region descriptions: statements on the structures of one case and on how they compare, and what any such text says. No torch.

Nothing is said that is not measured: neither sex nor age, nor what was not contoured.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TypeVar

import numpy as np

from ..anatomy import find, vocabulary
from .measure import Facts
from .ranges import Ranges
from .read import MAX_CHARS, Reading
from .read import read as read_one
from .relations import OPPOSITE, WORDS, Pair, Relation, measured
from .sentences import Written, degree
from .sentences import write as write_one
from .words import LEVELS, band

_JOINED = (
    "volume_ml",
    "volume_ml",
    "extent_lr_mm",
    "extent_ap_mm",
    "extent_cc_mm",
    "thickness_mm",
    "elongation",
)  # facts of short sentences
_TURNED = {"equal": "equal", **{kept: said for said, kept in OPPOSITE.items()}}
_VERBS = ("is", "is", "lies", "sits")
_BREAK = re.compile(
    r"(?<=[.!?\n])\s+|\s*;\s+(?=the\s)|,?\s+(?:and|while|whereas|but)\s+(?=(?:an?|the|both)\s)|,\s+(?=the\s)", re.IGNORECASE
)
_SIDE = re.compile(r"\s*(?:the |its |that on the )?(left|right)\b(?: (?:one|side))?")

Rng = np.random.Generator
T = TypeVar("T")


@dataclass(frozen=True)
class Statement:
    """A text that can stand alone, and what it says: `said` structure -> values and levels, and `relations`."""

    text: str
    said: dict[str, Written] = field(default_factory=dict)
    relations: tuple[Relation, ...] = ()


@dataclass(frozen=True)
class RegionReading:
    """What a text says: `said` structure -> reading (empty for a structure that is only named), and `relations`."""

    said: dict[str, Reading]
    relations: tuple[Relation, ...]

    def volumes(self) -> dict[str, float]:
        """The volumes in mL that are stated."""
        return {name: reading.values["volume_ml"] for name, reading in self.said.items() if "volume_ml" in reading.values}


def statements(
    facts: Mapping[str, Facts], ranges: Mapping[str, Ranges], rng: Rng, *, count: int, pairs: Iterable[Pair] = ()
) -> list[Statement]:
    """`count` random statements on a case; a third of them on relations and two structures at once, where there are any."""
    names, relations = [name for name in facts if name in ranges], measured(facts, pairs)
    if not names:
        raise ValueError("There is nothing to describe: no structure is measured.")
    found: list[Statement] = []
    while len(found) < count:
        kind = rng.random()
        if kind < 0.25 and relations:
            found.append(_related(_pick(rng, relations), rng))
        elif kind < 0.40 and len(names) > 1:
            found.append(_joined(facts, ranges, names, rng))
        else:
            name = _pick(rng, names)
            written = write_one(facts[name], vocabulary()[name].spoken, ranges[name], rng, keep=float(rng.uniform(0.05, 0.5)))
            ended = written.text if written.text.endswith(".") else f"{written.text}."
            found.append(Statement(ended, {name: written}))
    return found


def describe(facts: Mapping[str, Facts], ranges: Mapping[str, Ranges], rng: Rng, *, pairs: Iterable[Pair] = ()) -> str:
    """A random description of two to six statements."""
    return " ".join(s.text for s in statements(facts, ranges, rng, count=int(rng.integers(2, 7)), pairs=pairs))


def _related(relation: Relation, rng: Rng) -> Statement:
    """A relation in words, from either side."""
    kind, one, other = relation.kind, relation.one, relation.other
    if rng.random() < 0.5:
        kind, one, other = _TURNED[kind], other, one
    a, b = (vocabulary()[name].spoken for name in (one, other))
    side = vocabulary()[other].laterality
    if vocabulary()[one].mirror == other and side and rng.random() < 0.6:
        b = f"{side}{_pick(rng, ('', '', ' one'))}"
    verb = _pick(rng, _VERBS) if relation.kind in ("above", "in_front") else "is"
    return Statement(f"The {a} {verb} {_pick(rng, WORDS[kind])} the {b}.", relations=(relation,))


def _joined(facts: Mapping[str, Facts], ranges: Mapping[str, Ranges], names: Sequence[str], rng: Rng) -> Statement:
    """Two structures in one sentence: "Both parotid glands are small." or "The mandible is wide and the larynx small." """
    fact = _pick(rng, _JOINED)
    one = _pick(rng, names)
    twin = vocabulary()[one].mirror
    bands = {name: band(ranges[name].percentile(fact, getattr(facts[name], fact))) for name in names}
    if twin in bands and bands[one] == bands[twin]:
        kind, word = degree(fact, bands[one], rng)
        said = {name: Written("", {}, {fact: LEVELS[bands[one]]}) for name in (one, twin)}
        return Statement(f"Both {_shared(one)}s are {word}.", said)
    other = _pick(rng, [name for name in names if name != one])
    facts_of, words = {one: fact, other: _pick(rng, _JOINED)}, []
    said = {}
    for name, own in facts_of.items():
        level = band(ranges[name].percentile(own, getattr(facts[name], own)))
        words.append(degree(own, level, rng))
        said[name] = Written("", {}, {own: LEVELS[level]})
    (_, first), (kind, second) = words
    verb = "" if kind == "pre" and rng.random() < 0.5 else "is "
    joint = _pick(rng, (" and", ", and", " while", ", and"))
    a, b = (vocabulary()[name].spoken for name in (one, other))
    return Statement(f"The {a} is {first}{joint} the {b} {verb}{second}.", said)


def _shared(name: str) -> str:
    """The name without its side: `parotid gland`."""
    return re.sub(r"^(?:left|right) ", "", vocabulary()[name].spoken)


def _pick(rng: Rng, options: Sequence[T]) -> T:
    return options[int(rng.integers(len(options)))]


def chunks(text: str) -> list[tuple[str, tuple[str, ...]]]:
    """The text in pieces that can each be understood alone, with the structures that each is about.

    A piece begins where a structure is named anew; what names none ("It is 60 mL.") belongs to the piece before it.
    """
    text, spans, start = text[:MAX_CHARS], [], 0
    for gap in _BREAK.finditer(text):
        spans.append((start, gap.start()))
        start = gap.end()
    spans.append((start, len(text)))
    found: list[tuple[int, int, tuple[str, ...]]] = []
    for first, last in spans:
        named = _named(text[first:last])
        if found and not named:
            found[-1] = (found[-1][0], last, found[-1][2])
        elif last > first:
            found.append((first, last, named))
    return [(text[first:last].strip(), named) for first, last, named in found if text[first:last].strip()]


def _named(part: str) -> tuple[str, ...]:
    """The structures that a part speaks of; "both parotid glands" names two."""
    lowered = part.lower()
    pairs = [twins for shared, twins in _pairs().items() if re.search(rf"\b(?:both|the two) {re.escape(shared)}s\b", lowered)]
    return tuple(name for twins in pairs for name in twins) or tuple(n for n in find(part) if not vocabulary()[n].derived)


@cache
def _pairs() -> dict[str, tuple[str, str]]:
    return {_shared(n): (n, s.mirror) for n, s in vocabulary().items() if s.mirror and s.laterality == "right"}


@cache
def _compared() -> re.Pattern[str]:
    words = sorted(((word, kind) for kind, group in WORDS.items() for word in group), key=lambda item: -len(item[0]))
    return re.compile("|".join(rf"(?P<{kind}_{n}>\b{re.escape(word)}\b)" for n, (word, kind) in enumerate(words)))


def read(text: str) -> RegionReading:
    """What any text says of which structure; words of degree that belong to a relation are no degrees of a structure."""
    said: dict[str, Reading] = {}
    relations: dict[Relation, None] = {}
    for part, named in chunks(text):
        rest, found = _relations(part, named)
        relations.update(dict.fromkeys(found))
        for name in named:
            reading = read_one(rest)
            before = said.setdefault(name, Reading())
            before.values.update(reading.values)
            before.levels.update(reading.levels)
    return RegionReading(said, tuple(relations))


def _relations(part: str, named: tuple[str, ...]) -> tuple[str, list[Relation]]:
    """The relations that a piece of text states, and the piece without the words that state them."""
    found, lowered = [], part.lower()
    if len(lowered) != len(part):  # a letter whose lower case is longer; such a text is not read
        return part, []
    for match in _compared().finditer(lowered):
        kind = str(match.lastgroup).rpartition("_")[0]
        before = _named(part[: match.start()])
        one = before[-1] if before else (named[0] if named else None)
        side = _SIDE.match(lowered, match.end())
        after = _named(part[match.end() :])
        other = after[0] if after else None
        if other is None and side and one and vocabulary()[one].laterality != side[1]:
            other = vocabulary()[one].mirror
        if one and other and one != other:
            found.append(Relation.of(kind, one, other))
            part = part[: match.start()] + " " * (match.end() - match.start()) + part[match.end() :]
    return part, found
