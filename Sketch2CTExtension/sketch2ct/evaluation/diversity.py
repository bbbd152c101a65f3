"""How different are the masks of one request under several seeds?

    sketch_and_text   the full description holds volume and extents, so little is left to chance
    sketch_only       what one section leaves open
    name_only         "a mandible": anybody's, on the bundle's frame
    patients          no request: the real masks of the cases, for comparison

`pairwise_dice` is the mean Dice of every pair (1: nothing varies), `volume_cv` the volumes' standard deviation over their mean. The masks
of a sketch are compared where they lie; those of a name, and patients, with their centroids on one another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..anatomy import vocabulary
from ..generation import MaskGenerator
from ..geometry import Grid
from ..sketching import crop
from . import metrics
from .case import Question, make, torch_rng
from .neighbours import Raster

Mask = NDArray[np.bool_]

SEEDS = 5  # masks of one request
CASES = 10  # that are asked for so often, at most
FIGURES = ("pairwise_dice", "volume_cv")
REQUESTS = ("sketch_and_text", "sketch_only", "name_only", "patients")


def spread(masks: Sequence[Mask], volumes_ml: Sequence[float]) -> dict[str, float]:
    """`pairwise_dice` of masks on one array, and `volume_cv` (sample standard deviation); NaN for fewer than two masks."""
    if len(masks) < 2:
        return {"pairwise_dice": float("nan"), "volume_cv": float("nan")}
    volumes, dice = np.asarray(volumes_ml, dtype=np.float64), [metrics.dice(a, b) for a, b in combinations(masks, 2)]
    mean = float(volumes.mean())
    return {"pairwise_dice": float(np.mean(dice)), "volume_cv": float(volumes.std(ddof=1)) / mean if mean else float("nan")}


def of_sketches(questions: Iterable[Question], generator: MaskGenerator, seed: int, count: int = SEEDS) -> list[dict[str, Any]]:
    """Every question asked `count` times with its description and `count` times without."""
    found = []
    for q in questions:
        for request, text in (("sketch_and_text", q.description), ("sketch_only", "")):
            keys = [("diversity", q.case, q.structure, str(n)) for n in range(count)]
            masks = [make(generator, q.structure, (q.sketch,), text, q.grid, torch_rng(seed, *key)) for key in keys]
            volumes = [float(mask.sum() * q.grid.voxel_ml) for mask in masks]
            found.append({"request": request, "case": q.case, "structure": q.structure, **spread(_cut(masks), volumes)})
    return found


def _cut(masks: list[Mask]) -> list[Mask]:
    """Cut to the box around them all, so that comparing is cheap."""
    inside = np.logical_or.reduce(masks)
    if not inside.any():
        return masks
    index = np.argwhere(inside)
    box = tuple(slice(a, b + 1) for a, b in zip(index.min(0), index.max(0), strict=True))
    return [mask[box] for mask in masks]


def of_names(generator: MaskGenerator, structures: Sequence[str], frame: Grid, seed: int, count: int = 2 * SEEDS) -> list[dict[str, Any]]:
    """Every structure asked for by its name `count` times."""
    found = []
    for name in structures:
        text = f"a {vocabulary()[name].spoken}"
        masks = [make(generator, name, (), text, frame, torch_rng(seed, "diversity", name, str(n))) for n in range(count)]
        found.append({"request": "name_only", "case": "", "structure": name, **_centred([(mask, frame) for mask in masks])})
    return found


def of_patients(questions: Iterable[Question]) -> list[dict[str, Any]]:
    """The real masks, by structure."""
    real: dict[str, list[tuple[Mask, Grid]]] = {}
    for q in questions:
        real.setdefault(q.structure, []).append(crop(q.mask, q.grid, 1))
    return [{"request": "patients", "case": "", "structure": name, **_centred(masks)} for name, masks in real.items()]


def _centred(masks: Sequence[tuple[Mask, Grid]]) -> dict[str, float]:
    volumes = [float(mask.sum() * grid.voxel_ml) for mask, grid in masks]
    drawn = [pair for pair in masks if pair[0].any()]
    if not drawn:
        return spread([], [])
    raster = Raster.around(drawn)
    return spread([raster.lay(*pair) for pair in masks], volumes)


def summarise(found: list[dict[str, Any]], seed: int) -> dict[str, Any]:
    """Request -> structure and `overall` (the mean over structures) -> `pairwise_dice` and `volume_cv`.

    Intervals resample patients; for `name_only` and `patients`, which have one value a structure, structures.
    """
    result: dict[str, Any] = {}
    for request in REQUESTS:
        own = [item for item in found if item["request"] == request]
        names = list(dict.fromkeys(item["structure"] for item in own))
        groups = {name: [name] for name in names} | ({"overall": names} if names else {})
        result[request] = {group: {key: _figure(own, held, key, seed) for key in FIGURES} for group, held in groups.items()}
    return {request: entry for request, entry in result.items() if entry}


def _figure(own: Sequence[Mapping[str, Any]], names: list[str], key: str, seed: int) -> dict[str, Any]:
    values = {(item["case"], item["structure"]): item[key] for item in own}
    if all(not case for case, _ in values):  # one value a structure
        return metrics.summary([values["", name] for name in names], seed)
    return metrics.mean_of_means(metrics.table(values, names), seed)
