"""HU by tissue and by structure: where the histogram of the body has its peaks, and how wide each structure's values spread."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, signal

from ..modality import CT
from . import metrics
from .paired import Placed, beside

# HU intervals of the tissues; fat and muscle meet half-way between their usual peaks (-100 and 50)
TISSUES = {"air": (-1024.0, -400.0), "fat": (-200.0, -25.0), "muscle": (-25.0, 150.0), "bone": (200.0, 2000.0)}
BIN_HU = 5.0
SMOOTH_HU = 10.0  # standard deviation
FEWEST = 50  # voxels of a tissue
PROMINENCE = 0.1  # of its height that a peak must rise above its surroundings,
AROUND_HU = 200.0  # which are so wide


def peak(values: NDArray, low: float, high: float) -> float:
    """The HU of the highest peak of the histogram between `low` and `high`; NaN when it only rises or falls there.

    The histogram has bins of BIN_HU and is smoothed by SMOOTH_HU; a wiggle of less than PROMINENCE is no peak.
    """
    edges = np.arange(low - 10 * SMOOTH_HU, high + 10 * SMOOTH_HU + BIN_HU, BIN_HU)
    counts = ndimage.gaussian_filter1d(np.histogram(values, edges)[0].astype(float), SMOOTH_HU / BIN_HU, mode="constant")
    middles = (edges[:-1] + edges[1:]) / 2
    found, about = signal.find_peaks(counts, prominence=1e-9, wlen=AROUND_HU / BIN_HU + 1)
    good = (about["prominences"] >= PROMINENCE * counts[found]) & (middles[found] >= low) & (middles[found] <= high)
    top = found[good]
    return float(middles[top[counts[top].argmax()]]) if len(top) else float("nan")


def tissues(hu: NDArray, body: NDArray[np.bool_]) -> dict[str, dict[str, float]]:
    """Of each tissue the `share` of the body's voxels within its HU, their `median` and the histogram's `peak` (HU, or NaN)."""
    values = hu[body].astype(np.float64)
    found = {}
    for name, (low, high) in TISSUES.items():
        own = values[(values >= low) & (values < high)]
        enough = len(own) >= FEWEST
        found[name] = {
            "share": len(own) / len(values) if len(values) else float("nan"),
            "median": float(np.median(own)) if enough else float("nan"),
            "peak": peak(values, low, high) if enough else float("nan"),
        }
    return found


def structures(placed: Placed) -> dict[str, dict[str, float]]:
    """Of each given structure where the CT was stored: `median` HU and `spread`, the interquartile range (HU)."""
    found = {}
    for name in placed.labels.names.values():
        mask = placed.labels.mask(name) & placed.known
        if mask.any():
            low, middle, high = np.percentile(placed.ct.array[mask], [25, 50, 75])
            found[name] = {"median": float(middle), "spread": float(high - low)}
    return found


def measure(placed: Placed) -> dict[str, Any]:
    """`tissues` (of a CT; other modalities have no HU to tell them by) and `structures` of one image."""
    known = placed.ct.modality is CT
    return {"tissues": tissues(placed.ct.array, placed.body) if known else {}, "structures": structures(placed)}


def summarise(pairs: list[tuple[dict[str, Any], dict[str, Any]]], seed: int) -> dict[str, Any]:
    """Over (generated, real) of each patient: `tissues.<name>` and `structures.<name>`, each figure beside the real one.

    `error` is the mean absolute difference of a patient's medians or peaks; `has_peak` the share of CTs with one.
    """
    result: dict[str, Any] = {"tissues": {}, "structures": {}}
    for name in TISSUES if pairs and pairs[0][0]["tissues"] else ():
        made, real = ([side["tissues"][name] for side in part] for part in zip(*pairs, strict=True))
        entry = {key: _side_by_side(made, real, key, seed) for key in ("share", "median", "peak")}
        entry["has_peak"] = {
            "generated": metrics.summary([float(np.isfinite(m["peak"])) for m in made], seed),
            "real": metrics.summary([float(np.isfinite(r["peak"])) for r in real], seed),
        }
        result["tissues"][name] = entry
    for name in dict.fromkeys(name for made, _ in pairs for name in made["structures"]):
        held = [(m["structures"][name], r["structures"][name]) for m, r in pairs if name in m["structures"] and name in r["structures"]]
        made, real = [m for m, _ in held], [r for _, r in held]
        result["structures"][name] = {key: _side_by_side(made, real, key, seed) for key in ("median", "spread")}
        result["structures"][name]["spread"]["ratio"] = beside([m["spread"] for m in made], [r["spread"] for r in real], seed)["ratio"]
    return result


def _side_by_side(made: list[dict[str, float]], real: list[dict[str, float]], key: str, seed: int) -> dict[str, Any]:
    a, b = np.array([m[key] for m in made]), np.array([r[key] for r in real])
    sides = {"generated": metrics.summary(a, seed), "real": metrics.summary(b, seed)}
    return {**sides, "error": metrics.summary(np.abs(a - b), seed)}
