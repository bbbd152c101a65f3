"""Does the text steer the mask? From text alone, on the bundle's frame: volumes in numbers, small against large."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..anatomy import vocabulary
from ..describe import Ranges
from ..generation import MaskGenerator
from ..geometry import Grid
from . import metrics
from .case import MaskRecord, make, seeds, torch_rng

WITHIN = 0.20


def volume_in_numbers(
    generator: MaskGenerator, structures: Sequence[str], ranges: dict[str, Ranges], grid: Grid, seed: int, draws: int
) -> list[dict[str, Any]]:
    """Text alone, "<structure>, about N mL" with N between the 10th and 90th training percentile: asked and made mL."""
    found = []
    for name in structures:
        low, high = (ranges[name].value_at("volume_ml", p) for p in (10, 90))
        for draw in range(draws):
            key = ("volume in numbers", name, str(draw))
            asked = float(np.random.default_rng(seeds(seed, *key)).uniform(low, high))
            asked = round(asked) if asked >= 10 else round(asked, 1)
            text = f"{vocabulary()[name].spoken}, about {asked:g} mL"
            mask = make(generator, name, (), text, grid, torch_rng(seed, *key))
            made = float(mask.sum() * grid.voxel_ml)
            error = metrics.volume_error(made, asked)
            found.append({"structure": name, "asked_ml": asked, "made_ml": round(made, 3), "within": error <= WITHIN})
    return found


def small_against_large(generator: MaskGenerator, structures: Sequence[str], grid: Grid, seed: int, draws: int) -> list[dict[str, Any]]:
    """Text alone and the same noise: whether "a large X" is larger than "a small X"."""
    found = []
    for name in structures:
        for draw in range(draws):
            key = ("small against large", name, str(draw))
            small, large = (
                float(make(generator, name, (), f"a {word} {vocabulary()[name].spoken}", grid, torch_rng(seed, *key)).sum() * grid.voxel_ml)
                for word in ("small", "large")
            )
            pair = {"small_ml": round(small, 3), "large_ml": round(large, 3), "obeyed": large > small}
            found.append({"structure": name, **pair})
    return found


def summarise(volumes: list[dict[str, Any]], pairs: list[dict[str, Any]], records: list[MaskRecord], seed: int) -> dict[str, Any]:
    """The shares, each as mean, interval and number; by structure under `by_structure`."""

    def shares(keep: str | None) -> dict[str, Any]:
        chosen = [r for r in records if keep in (None, r.structure)]
        return {
            "volume_within_20": {
                "text_only": metrics.summary([v["within"] for v in volumes if keep in (None, v["structure"])], seed),
                "with_sketch": metrics.summary([r.values["volume_error"] <= WITHIN for r in chosen], seed),
            },
            "small_large_obeyed": metrics.summary([p["obeyed"] for p in pairs if keep in (None, p["structure"])], seed),
            "one_component": metrics.summary([r.values["components"] == 1 for r in chosen], seed),
        }

    names = list(dict.fromkeys(item["structure"] for item in (*volumes, *pairs)))
    return {**shares(None), "by_structure": {name: shares(name) for name in names}}
