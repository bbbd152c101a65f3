"""The words of a case: facts said anew, stated numbers scaled, left and right swapped. No torch."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ..anatomy import vocabulary
from ..describe import FACTS, Facts, Ranges, canonical, read, write
from ..drafting import numbers_alone
from .variation import Draw

Rng = np.random.Generator
_LENGTHS = ("extent_lr_mm", "extent_ap_mm", "extent_cc_mm", "length_mm", "centreline_mm", "thickness_mm")
_SIZE_SHARED = 0.9  # correlation of each length with the size of the whole: a large organ is wide, deep and tall
_ACROSS = re.compile(r"\b(left|right)([ -]to[ -]|-)(left|right)\b", re.IGNORECASE)
# A lone L or R is a side as note-takers write it, unless it follows a number: then L are litres.
_SIDED = re.compile(
    r"(?<![A-Za-z])(?:(left|right)(wards?|-sided)?|(?<!\d)(?<!\d )((?-i:[LR])(?=[ _])|(?<=_)[lr]))(?![A-Za-z])", re.IGNORECASE
)
_SWAPPED = {"left": "right", "right": "left", "l": "r", "r": "l"}
_NUMBER = re.compile(r"[0-9]{1,7}(?:[.,][0-9]{1,4})?")


def said(facts: Facts, structure: str, ranges: Ranges | None, rng: Rng | None, *, state_volume: bool, only: set[str] | None = None) -> str:
    """Facts in words: the full description, or with `rng` a free wording of some (of `only` these, if given).

    Without ranges, numbers alone. With `state_volume` the volume is always among the numbers.
    """
    spoken = vocabulary()[structure].spoken
    if ranges is None:
        return numbers_alone(facts, spoken)
    if rng is None:
        return canonical(facts, spoken, ranges)
    written = write(facts, spoken, ranges, rng, only=only)
    if state_volume and "volume_ml" not in written.values:
        return f"{written.text.rstrip('. ')}. Its volume is {facts.volume_ml:.3g} mL."
    return written.text


def restated(text: str, drawn: Draw) -> str:
    """A free text whose numbers follow the case: mL by the volume's factor, mm by the size and the stretch."""
    reading, parts, at = read(text), [], 0
    scale = _factors(drawn, _longest(reading.values))
    for start, end, fact in reading.spans:
        number = _NUMBER.search(text, max(start, at), end)
        if number is None or fact not in reading.values or abs(scale.get(fact, 1.0) - 1) < 1e-9:
            continue
        parts += [text[at : number.start()], _scaled(number[0], scale[fact])]
        at = number.end()
        to = re.compile(r"\s?(?:-|\u2013|to)\s?").match(text, at, end)
        second = _NUMBER.match(text, to.end(), end) if to else None
        if to and second:  # a range: "40 to 50 mm"
            parts += [text[at : to.end()], _scaled(second[0], scale[fact])]
            at = second.end()
    return "".join(parts) + text[at:]


def _scaled(number: str, factor: float) -> str:
    whole, comma, rest = number.partition(",")
    plain = whole + rest if comma and len(rest) == 3 else number.replace(",", ".")  # as `describe.read` tells the two commas apart
    value = float(plain) * factor
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}".removesuffix(".0") if value >= 1 else f"{value:.3f}"


def swapped_sides(text: str) -> str:
    """Left becomes right and the other way round; "left to right" is a direction of measuring and stays."""
    kept = [match.span() for match in _ACROSS.finditer(text)]

    def swap(match: re.Match[str]) -> str:
        if any(start <= match.start() < end for start, end in kept):
            return match[0]
        word = match[1] or match[3]
        other = _SWAPPED[word.lower()]
        other = other.upper() if word.isupper() else other.capitalize() if word[0].isupper() else other
        return other + (match[2] or "")

    return _SIDED.sub(swap, text)


def stated(text: str, ranges: Ranges) -> tuple[Facts, set[str]]:
    """What a free text says, as facts, and which ones it says; the rest are those of the average case."""
    reading = read(text)
    values = {fact: ranges.value_at(fact, reading.levels[fact]) for fact in reading.levels} | reading.values
    return _facts({fact: values.get(fact, ranges.value_at(fact, 50)) for fact in FACTS}), set(values)


def drawn_facts(ranges: Ranges, rng: Rng) -> Facts:
    """Facts of an invented case, each within the middle nine tenths of the training cases; sizes go together."""
    size = rng.standard_normal()

    def value(fact: str) -> float:
        own = rng.standard_normal()
        together = fact == "volume_ml" or fact in _LENGTHS
        z = size if fact == "volume_ml" else _SIZE_SHARED * size + (1 - _SIZE_SHARED**2) ** 0.5 * own if together else own
        return ranges.value_at(fact, float(np.clip(100 * _normal_share(z), 5, 95)))

    return _facts({fact: value(fact) for fact in FACTS})


def scaled_facts(facts: Facts, drawn: Draw) -> Facts:
    """The facts of a case that has words only; elsewhere the moved mask is measured."""
    values = {fact: getattr(facts, fact) for fact in FACTS}
    factors = _factors(drawn, _longest(values))
    scaled: dict[str, Any] = {fact: value * factors.get(fact, 1.0) for fact, value in values.items()}
    scaled["elongation"] = float(np.clip(1 - (1 - facts.elongation) * drawn.elongation**-1.5, 0, 0.99))
    return replace(facts, **scaled)


def _factors(drawn: Draw, longest: str) -> dict[str, float]:
    """Fact -> what it is multiplied with. A stretch makes the long measures longer and the others shorter, at the same volume."""
    size, wide = drawn.volume ** (1 / 3), drawn.elongation**-0.5
    along = {"length_mm", "centreline_mm", longest}
    lengths = {fact: size * (drawn.elongation if fact in along else wide) for fact in _LENGTHS}
    return {"volume_ml": drawn.volume, **lengths}


def _longest(values: Mapping[str, float]) -> str:
    """The body axis along which a structure is longest."""
    sides = [fact for fact in _LENGTHS[:3] if fact in values]
    return max(sides, key=lambda fact: values[fact]) if sides else ""


def _facts(values: dict[str, float]) -> Facts:
    fixed: dict[str, Any] = {**values, "components": 1, "centroid_ras": (0.0, 0.0, 0.0)}
    return Facts(**fixed)


def _normal_share(z: float) -> float:
    return 0.5 * (1 + math.erf(z / math.sqrt(2)))
