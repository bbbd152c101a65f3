"""The words for degrees, shared by the writer and the reader, so that neither can know a word the other does not.

A degree is a percentile among the cases of one structure, spoken in seven bands: -3 (below the 5th percentile), -2
(below the 20th), -1 (below the 35th), 0, and the same upwards.
"""

from __future__ import annotations

from dataclasses import dataclass

LEVELS = {-3: 2.5, -2: 12.5, -1: 27.5, 0: 50.0, 1: 72.5, 2: 87.5, 3: 97.5}


def band(percentile: float) -> int:
    """The band (-3..3) of a percentile (0..100)."""
    for edge, low in ((5, -3), (20, -2), (35, -1)):
        if percentile < edge:
            return low
    for edge, high in ((95, 3), (80, 2), (65, 1)):
        if percentile > edge:
            return high
    return 0


@dataclass(frozen=True)
class Scale:
    """The words of one fact. `lower` and `higher` are comparatives; without one, "more" and the plain word serve."""

    nouns: tuple[str, ...]
    low: tuple[str, ...]
    high: tuple[str, ...]
    lowest: tuple[str, ...] = ()
    highest: tuple[str, ...] = ()
    lower: tuple[str, ...] = ()
    higher: tuple[str, ...] = ()


SCALES = {
    "volume_ml": Scale(
        ("size", "volume"),
        ("small",),
        ("large", "big"),
        ("tiny", "minute"),
        ("huge", "enormous", "giant"),
        ("smaller",),
        ("larger", "bigger"),
    ),
    "extent_lr_mm": Scale(("width", "breadth"), ("narrow",), ("wide", "broad"), lower=("narrower",), higher=("wider", "broader")),
    "extent_ap_mm": Scale(("depth",), ("shallow",), ("deep",), lower=("shallower",), higher=("deeper",)),
    "extent_cc_mm": Scale(
        ("height",),
        ("short in height", "low in height", "small in height"),
        ("tall",),
        lower=("shorter in height", "lower in height"),
        higher=("taller",),
    ),
    "length_mm": Scale(("length",), ("short",), ("long",), lower=("shorter",), higher=("longer",)),
    "thickness_mm": Scale(("thickness",), ("thin", "slender", "slim"), ("thick", "stout"), lower=("thinner",), higher=("thicker",)),
    "tilt_deg": Scale(("tilt", "inclination"), ("upright", "vertical"), ("tilted", "slanted", "inclined", "oblique")),
    "elongation": Scale(("elongation",), ("compact", "stubby"), ("elongated", "stretched")),
    "flatness": Scale(("flatness",), ("plump",), ("flat", "flattened"), lower=("plumper",), higher=("flatter",)),
    "sphericity": Scale(
        ("roundness", "sphericity"),
        ("sprawling", "angular"),
        ("round", "rounded", "globular", "spherical"),
        higher=("rounder",),
    ),
    "smoothness": Scale(
        ("smoothness",),
        ("irregular", "lobulated", "rough", "bumpy", "uneven"),
        ("smooth", "regular"),
        lower=("rougher", "bumpier"),
        higher=("smoother",),
    ),
    "symmetry": Scale(("symmetry",), ("asymmetric", "asymmetrical", "lopsided"), ("symmetric", "symmetrical")),
}

STRONG = ("very", "extremely", "exceptionally", "unusually", "remarkably", "really")
MILD = ("fairly", "somewhat", "rather", "slightly", "quite", "relatively", "moderately", "mildly", "a bit", "a little")
MUCH = ("much", "far", "considerably", "markedly")
MEAN = ("average", "medium", "normal", "typical", "ordinary", "usual", "moderate", "intermediate")

# Words that have a direction but no fact of their own: they need a noun ("great width", "low in height").
BARE = {"great": 1, "high": 1, "low": -1, "considerable": 1, "greater": 1, "lower": -1, "higher": 1}
# Facts whose plain words may be lent to another noun: "large in width", "short in height".
MAGNITUDES = ("volume_ml", "length_mm")
# "the deep lobe", "its long axis" and "small bowel" are names, not degrees.
NAMES = ("lobe", "lobes", "axis", "axes", "bowel", "intestine", "part", "neck", "vein", "artery")
