"""Is every measured word and number followed? Words alone, on the bundle's frame in fine voxels, one fact at a time.

A pair of texts differs in one word ("a narrow mandible", "a wide mandible") or one number ("mandible, 92 mm wide", "..., 118 mm
wide": the 10th and the 90th training percentile) and starts from the same noise. It is followed when the higher one measures more.
Every word of degree that `describe` knows is used in at least one pair.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import describe
from ..anatomy import vocabulary
from ..describe import FACTS, Ranges
from ..describe.words import SCALES
from ..generation import MaskGenerator
from ..geometry import Grid
from . import metrics
from .case import make, torch_rng

PERCENTILES = (10.0, 90.0)
NUMBERS = {
    "volume_ml": "{name}, {value:.1f} mL",
    "extent_lr_mm": "{name}, {value:.0f} mm wide",
    "extent_ap_mm": "{name}, {value:.0f} mm deep",
    "extent_cc_mm": "{name}, {value:.0f} mm tall",
    "length_mm": "{name}, {value:.0f} mm long",
    "centreline_mm": "{name}, {value:.0f} mm along its centreline",
    "thickness_mm": "{name}, {value:.1f} mm thick",
    "tilt_deg": "{name}, tilted {value:.0f} degrees",
}
UPRIGHT = 0.25  # elongation below which a main axis has no direction, so that its tilt is not asked for
WITHIN, WITHIN_DEG = 0.20, 10.0
RULER_MM = 2.0


def ruler(frame: Grid) -> Grid:
    """The frame in voxels of at most RULER_MM, so that a change of less than one of its own voxels is seen."""
    cells = np.ceil(frame.spacing / RULER_MM).astype(int)
    shape = np.array(frame.shape) * cells
    affine = frame.affine @ np.diag([*(1 / cells), 1.0])
    affine[:3, 3] = frame.centre - affine[:3, :3] @ ((shape - 1) / 2)
    return Grid((shape[0], shape[1], shape[2]), affine)


def word_pairs(fact: str) -> list[tuple[str, str]]:
    """(low, high) words of a fact; plain with plain and extreme with extreme words, each word at least once."""
    scale, pairs = SCALES[fact], []
    for low, high in ((scale.low, scale.high), (scale.lowest, scale.highest)):
        pairs += [(low[n % len(low)], high[n % len(high)]) for n in range(max(len(low), len(high)))]
    return pairs


def word_text(name: str, word: str) -> str:
    """ "a narrow mandible"; a word with "in" stands behind: "a mandible, low in height"."""
    if " in " in word:
        return f"{_article(name)} {name}, {word}"
    return f"{_article(word)} {word} {name}"


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def texts(structure: str, ranges: Ranges) -> list[dict[str, Any]]:
    """Every pair of texts: `fact`, `kind` (word or number), `texts` (low, high) and what they ask for, `asked` (low, high)."""
    name = vocabulary()[structure].spoken
    found: list[dict[str, Any]] = []
    for fact in FACTS:
        if fact == "tilt_deg" and ranges.value_at("elongation", 50) < UPRIGHT:
            continue
        for words in word_pairs(fact) if fact in SCALES else []:
            pair = tuple(word_text(name, word) for word in words)
            asked = tuple(ranges.value_at(fact, describe.read(text).levels[fact]) for text in pair)
            found.append({"fact": fact, "kind": "word", "texts": pair, "asked": asked})
        if fact in NUMBERS:
            pair = tuple(NUMBERS[fact].format(name=name, value=ranges.value_at(fact, p)) for p in PERCENTILES)
            asked = tuple(describe.read(text).values[fact] for text in pair)
            found.append({"fact": fact, "kind": "number", "texts": pair, "asked": asked})
    return [item for item in found if item["asked"][0] < item["asked"][1]]  # equal where all training cases are


def measure(
    generator: MaskGenerator,
    structures: Sequence[str],
    ranges: dict[str, Ranges],
    grid: Grid,
    seed: int,
    draws: int,
    say: Callable[[str], None] = lambda text: None,
) -> list[dict[str, Any]]:
    """Every pair of every structure, `draws` times: what was asked, what was measured, and whether it was followed.

    `side`: how many of the two lie on the asked side of the training median (words), or near the number (numbers: within 20 %, or 10
    degrees), 0..1. `moved`: the measured change over the asked one.
    """
    found: list[dict[str, Any]] = []
    for structure in structures:
        pairs = texts(structure, ranges[structure])
        for draw in range(draws):
            key = (structure, str(draw))  # the noise depends on these alone, not on the text
            wanted = dict.fromkeys(text for item in pairs for text in item["texts"])
            facts = {text: _facts(make(generator, structure, (), text, grid, torch_rng(seed, "obedience", *key)), grid) for text in wanted}
            for item in pairs:
                low, high = (getattr(facts[text], item["fact"], float("nan")) for text in item["texts"])
                answer = {
                    "made": (low, high),
                    "followed": high > low,  # not where a mask is empty (NaN)
                    "side": _side(item, (low, high), ranges[structure]),
                    "moved": (high - low) / (item["asked"][1] - item["asked"][0]),
                }
                found.append({"structure": structure, "draw": draw, **item, **answer})
        own = [item["followed"] for item in found if item["structure"] == structure]
        say(f"Obedience, {vocabulary()[structure].spoken}: {np.mean(own):.0%} of {len(own)} followed" if own else structure)
    return found


def _facts(mask: NDArray[np.bool_], grid: Grid) -> describe.Facts | None:
    return describe.measure(mask, grid.affine) if mask.any() else None


def _side(item: dict[str, Any], made: Sequence[float], ranges: Ranges) -> float:
    if item["kind"] == "word":
        middle = ranges.value_at(item["fact"], 50)
        return float(np.mean([made[0] < middle, made[1] > middle]))
    if item["fact"] == "tilt_deg":
        return float(np.mean([abs(m - a) <= WITHIN_DEG for m, a in zip(made, item["asked"], strict=True)]))
    return float(np.mean([metrics.volume_error(m, a) <= WITHIN for m, a in zip(made, item["asked"], strict=True)]))


def summarise(found: list[dict[str, Any]], seed: int) -> dict[str, Any]:
    """`words` and `numbers`: `followed`, `side`, `moved` over all pairs, `by_fact`, `by_structure`; `share_followed` is over facts: the
    mean over structures and kinds of each fact's share, so that a fact with many words weighs no more."""
    result: dict[str, Any] = {}
    for kind, key in (("word", "words"), ("number", "numbers")):
        own = [item for item in found if item["kind"] == kind]
        facts = [fact for fact in FACTS if any(item["fact"] == fact for item in own)]
        names = list(dict.fromkeys(item["structure"] for item in own))
        result[key] = {
            **_figures(own, seed),
            "by_fact": {fact: _figures([item for item in own if item["fact"] == fact], seed) for fact in facts},
            "by_structure": {name: _figures([item for item in own if item["structure"] == name], seed) for name in names},
        }
    result["share_followed"] = metrics.summary(list(shares(found).values()), seed)
    return result


def shares(found: list[dict[str, Any]]) -> dict[tuple[str, str, str], float]:
    """(kind, fact, structure) -> the share of its pairs that was followed."""
    groups: dict[tuple[str, str, str], list[bool]] = {}
    for item in found:
        groups.setdefault((item["kind"], item["fact"], item["structure"]), []).append(item["followed"])
    return {key: float(np.mean(values)) for key, values in groups.items()}


def _figures(items: list[dict[str, Any]], seed: int) -> dict[str, Any]:
    return {key: metrics.summary([float(item[key]) for item in items], seed) for key in ("followed", "side", "moved")}
