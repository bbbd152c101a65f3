"""What a text says in the vocabulary that masks are measured with: numbers with units, and words of degree.

Any text is accepted, and what is not understood is ignored. Each pattern has bounded repetitions and a bounded window,
and a text beyond MAX_CHARS is not looked at, so the time is bounded too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .words import BARE, LEVELS, MAGNITUDES, MEAN, MILD, MUCH, NAMES, SCALES, STRONG

if TYPE_CHECKING:
    from .ranges import Ranges

MAX_CHARS = 20_000
_WINDOW = 48  # characters around a quantity in which its axis is looked for

_NUMBER = r"[0-9]{1,7}(?:[.,][0-9]{1,4})?"
_LENGTH = r"mm|cm|milli-?met(?:er|re)s?|centi-?met(?:er|re)s?"
_VOLUME = (
    r"ml|millilit(?:er|re)s?|ccm|cc|cm ?\^? ?[3³]|cubic (?:cm|centimet(?:er|re)s?)|mm ?\^? ?[3³]"
    r"|cubic (?:mm|millimet(?:er|re)s?)|lit(?:er|re)s?|l"
)
_ANGLE = r"°|degrees?|deg"
_START = r"(?<![\w.,])"
_QUANTITY = re.compile(
    rf"{_START}({_NUMBER})(?:\s?(?:-|\u2013|to)\s?({_NUMBER}))?[\s-]{{0,3}}"
    rf"(?:(?P<volume>{_VOLUME})|(?P<length>{_LENGTH})|(?P<angle>{_ANGLE}))(?![\w³])"
)
_TIMES = rf"\s?(?:{_LENGTH})?\s?(?:x|\u00d7|\*|by)\s?"
_SIDES = r"(?:lr|rl|ap|pa|cc|si)"
_TRIPLE = re.compile(
    rf"{_START}({_NUMBER}){_TIMES}({_NUMBER}){_TIMES}({_NUMBER})\s?({_LENGTH})(?!\w)"
    rf"(?:\s?\(?({_SIDES})\s?[x\u00d7,]\s?({_SIDES})\s?[x\u00d7,]\s?({_SIDES})\b\)?)?"
)
_AXES = {
    "centreline_mm": r"cent(?:re|er)[ -]?line",
    "extent_cc_mm": r"cranio-?caudal(?:ly)?|cc|si|height|tall|high|supero-?inferior(?:ly)?|superior-?inferior(?:ly)?"
    r"|top to bottom|head to foot",
    "extent_lr_mm": r"lr|rl|width|breadth|wide|broad|across|left(?:-| to |-to-)right|right(?:-| to |-to-)left"
    r"|side to side|transverse(?:ly)?|medio-?lateral(?:ly)?",
    "extent_ap_mm": r"ap|pa|depth|deep|antero-?posterior(?:ly)?|anterior-?posterior(?:ly)?|front to back",
    "thickness_mm": r"thick(?:ness)?|diameter",
    "length_mm": r"length|long|(?:long|main|major|longest) axis",
}
_AXIS = "|".join(rf"(?P<{fact}>{words})" for fact, words in _AXES.items())
_ABOUT = r"of|is|was|at|to|about|approximately|approx\.?|roughly|around|nearly|some|measures|=|:|~|≈"
_LABEL = rf"\b(?:{_AXIS})(?: (?:extent|length|size|dimension|diameter|direction))?"
_LEAN = r"tilt(?:ed)?|inclin(?:ed|ation)|slant(?:ed)?|oblique|leaning"
_BEFORE = re.compile(rf"{_LABEL}(?:\s?(?:{_ABOUT})){{0,3}}\s?$")
_AFTER = re.compile(rf"[\s-]{{0,2}}\(?(?:in |along |from )?(?:the |its |an? )?{_LABEL}\b")
_LEAN_BEFORE = re.compile(rf"\b(?:{_LEAN})(?:\s?(?:by|{_ABOUT})){{0,3}}\s?$")
_UPRIGHT = r"(?:from|off|to) (?:the )?vertical"
_LEAN_AFTER = re.compile(rf"[\s-]{{0,2}}(?:(?:of )?(?:{_LEAN})(?: {_UPRIGHT})?|{_UPRIGHT})\b")
_ADJECTIVES = {"tall", "high", "wide", "broad", "across", "deep", "thick", "long"}
_ORDER = {"lr": "extent_lr_mm", "rl": "extent_lr_mm", "ap": "extent_ap_mm", "pa": "extent_ap_mm"}


@dataclass(frozen=True)
class Reading:
    """`values`: fact -> mL, mm or degrees. `levels`: fact -> percentile. `spans`: (start, end, fact), in characters."""

    values: dict[str, float] = field(default_factory=dict)
    levels: dict[str, float] = field(default_factory=dict)
    spans: list[tuple[int, int, str]] = field(default_factory=list)

    def vector(self, ranges: Ranges) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Standardised facts and which are given (0 or 1), both float32 (len(FACTS),); a number beats a word."""
        facts = {fact: ranges.value_at(fact, level) for fact, level in self.levels.items()}
        return ranges.standardise({**facts, **self.values})


def read(text: str) -> Reading:
    """Recover numbers and degrees from any text; where a fact is named twice, the later mention counts."""
    plain = _lower(text[:MAX_CHARS])
    taken = bytearray(len(plain))
    reading = Reading()
    for start, end, fact, value in (*_triples(plain), *_quantities(plain)):
        if not any(taken[start:end]):
            reading.values[fact] = value
        _mark(reading, taken, start, end, fact)
    for start, end, fact, level in _degrees(plain):
        if not any(taken[start:end]):
            reading.levels[fact] = level
            _mark(reading, taken, start, end, fact)
    reading.spans.sort()
    return reading


def _mark(reading: Reading, taken: bytearray, start: int, end: int, fact: str) -> None:
    if not any(taken[start:end]):
        reading.spans.append((start, end, fact))
    taken[start:end] = b"\1" * (end - start)


def _lower(text: str) -> str:
    """Lower case with every character in its place, which `str.lower` does not promise."""
    lowered = text.lower()
    if len(lowered) == len(text):
        return lowered
    return "".join(low if len(low := char.lower()) == 1 else char for char in text)


def _number(text: str) -> float:
    """A decimal comma and a thousands comma are told apart by the three digits after the latter."""
    whole, comma, rest = text.partition(",")
    return float(whole + rest) if comma and len(rest) == 3 else float(text.replace(",", "."))


def _millimetres(unit: str) -> float:
    return 10.0 if unit.startswith("c") else 1.0


def _millilitres(unit: str) -> float:
    if unit.startswith(("mm", "cubic mm", "cubic milli")):
        return 0.001
    return 1000.0 if unit.startswith("l") else 1.0


def _triples(text: str) -> Iterator[tuple[int, int, str, float]]:
    """ "40 x 30 x 52 mm (LR x AP x CC)"; without the bracket that order is meant."""
    for match in _TRIPLE.finditer(text):
        labels = [label or usual for label, usual in zip(match.groups()[4:], ("lr", "ap", "cc"), strict=True)]
        for group, label in enumerate(labels, start=1):
            start = match.start() if group == 1 else match.start(group)
            end = match.end() if group == 3 else match.start(group + 1)
            yield start, end, _ORDER.get(label, "extent_cc_mm"), _number(match[group]) * _millimetres(match[4])


def _quantities(text: str) -> Iterator[tuple[int, int, str, float]]:
    """Numbers with a unit; a length also needs the words that say along which axis, before or after it."""
    claimed = 0
    for match in _QUANTITY.finditer(text):
        numbers = [_number(number) for number in match.groups()[:2] if number]
        value = sum(numbers) / len(numbers)
        if match["volume"]:
            yield match.start(), match.end(), "volume_ml", value * _millilitres(match["volume"])
            claimed = match.end()
            continue
        found = _axis(text, match, claimed)
        if found is not None:
            start, end, fact = found
            yield start, end, fact, value * (_millimetres(match["length"]) if match["length"] else 1.0)
            claimed = end


def _axis(text: str, match: re.Match, claimed: int) -> tuple[int, int, str] | None:
    """The span of a quantity with its axis words, and the fact. Words before it, if not `claimed` yet, count first."""
    start, end = match.span()
    window = max(claimed, start - _WINDOW)
    head, tail = text[window:start], text[end : end + _WINDOW]
    if match["angle"]:
        before, after = _LEAN_BEFORE.search(head), _LEAN_AFTER.match(tail)
        return window + before.start() if before else start, end + after.end() if after else end, "tilt_deg"
    before = _BEFORE.search(head)
    if before and before.lastgroup and before[before.lastgroup] not in _ADJECTIVES:
        return window + before.start(), end, before.lastgroup
    after = _AFTER.match(tail)
    return (start, end + after.end(), str(after.lastgroup)) if after else None


@cache
def _vocabulary() -> tuple[dict[str, tuple[str, int, int]], dict[str, str]]:
    """Word -> (fact, direction, rank: 0 comparative, 1 plain, 2 extreme), and noun -> fact."""
    words = {word: ("", sign, 0 if word.endswith("er") else 1) for word, sign in BARE.items()}
    for fact, scale in SCALES.items():
        ranks = ((scale.low, -1, 1), (scale.high, 1, 1), (scale.lowest, -1, 2), (scale.highest, 1, 2))
        for group, sign, rank in (*ranks, (scale.lower, -1, 0), (scale.higher, 1, 0)):
            words.update({word: (fact, sign, rank) for word in group if " " not in word})
    return words, {noun: fact for fact, scale in SCALES.items() for noun in scale.nouns}


@cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    words, nouns = _vocabulary()
    noun = "|".join(nouns)
    modifiers = "|".join((*STRONG, *MILD, *MUCH, "more", "less", "too", "so", "particularly", "especially", "overly"))
    word = "|".join(sorted(words, key=len, reverse=True))
    degree = re.compile(
        rf"\b(?:(?P<not>not)\s)?(?P<how>(?:(?:{modifiers})\s){{0,2}})(?P<word>{word})\b"
        rf"(?![\s-](?:{'|'.join(NAMES)})\b)(?:\s(?:in\s)?(?P<noun>{noun})\b)?(?:\sthan\s(?:{'|'.join(MEAN)}|most)\b)?"
    )
    mean = re.compile(rf"\b(?:of\s)?(?:{'|'.join(MEAN)}|mid)(?:[\s-]?(?P<sized>sized)\b|[\s-](?P<noun>{noun})\b)")
    return degree, mean


def _degrees(text: str) -> Iterator[tuple[int, int, str, float]]:
    """Words of degree with their modifiers, as percentiles."""
    words, nouns = _vocabulary()
    degree, mean = _patterns()
    found = [(*hit.span(), nouns[hit["noun"]] if hit["noun"] else "volume_ml", LEVELS[0]) for hit in mean.finditer(text)]
    for match in degree.finditer(text):
        fact, sign, rank = words[match["word"]]
        end = match.end()
        if match["noun"] and (not fact or fact in MAGNITUDES):
            fact = nouns[match["noun"]]
        if fact:
            found.append((match.start(), end, fact, _level(sign, rank, match["not"] is not None, match["how"].split())))
    yield from sorted(found)


def _level(sign: int, rank: int, negated: bool, how: list[str]) -> float:
    """The percentile of a word: "not large" and "less smooth" are mildly the opposite, a comparative is mild."""
    if negated or "less" in how:
        return LEVELS[-sign]
    if rank == 2 or any(word in STRONG for word in how):
        return LEVELS[3 * sign]
    much = any(word in MUCH for word in how)
    mild = rank == 0 or "more" in how or any(word in " ".join(MILD).split() for word in how)
    return LEVELS[sign] if mild and not much else LEVELS[2 * sign]
