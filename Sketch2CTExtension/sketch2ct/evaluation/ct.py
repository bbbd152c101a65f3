"""CTs made from true label maps against the real ones: HU by structure, and the histogram of the body."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..data.derived import body_of, stored
from ..generation import Progress, VolumeGenerator
from ..geometry import Grid
from ..imaging import CTVolume, LabelVolume, resample, resample_part
from ..sketching import crop
from . import metrics
from .case import torch_rng

BIN_HU = 50
_EDGES = np.arange(-1050, 3100, BIN_HU)


@dataclass
class CTRecord:
    """`medians` structure -> (generated, real) HU; `histogram_difference` 0..1, see `histogram_difference`."""

    case: str
    medians: dict[str, tuple[float, float]]
    histogram_difference: float
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return dict(vars(self))


@dataclass
class Comparison:
    """What a picture shows: real and generated CT and the given labels on one grid; `known` was really stored."""

    case: str
    real: CTVolume
    made: CTVolume
    labels: LabelVolume
    known: NDArray[np.bool_]


def frame_for(labels: LabelVolume, metadata: dict[str, Any]) -> Grid:
    """The bundle's frame, placed so that the case's structures lie, on average, where the training cases have them."""
    centres = []
    for name in labels.names.values():
        if labels.has(name):
            ras = labels.grid.to_ras(np.argwhere(labels.mask(name)))
            usual = np.asarray(metadata.get("placement", {}).get(name, (0.0, 0.0, 0.0)))
            centres.append((ras.min(0) + ras.max(0)) / 2 - usual)
    shape, spacing = metadata["frame"]["shape"], metadata["frame"]["spacing"]
    centre = np.mean(centres, axis=0) if centres else labels.grid.centre
    return Grid.centred(centre, spacing, (int(shape[0]), int(shape[1]), int(shape[2])))


def on_frame(labels: LabelVolume, grid: Grid, names: list[str]) -> LabelVolume:
    """The named structures on another grid, with the values 1, 2, ... in the order of `names`."""
    array = np.zeros(grid.shape, np.uint8)
    for value, name in enumerate(names, start=1):
        if labels.has(name):
            small, own = crop(labels.mask(name), labels.grid, 1)  # the whole array takes ten times as long
            array[resample_part(small.astype(np.float32), own, grid) >= 0.5] = value
    return LabelVolume(array, grid, dict(enumerate(names, start=1)))


def compare(
    case: str, real: CTVolume, labels: LabelVolume, generator: VolumeGenerator, metadata: dict[str, Any], seed: int
) -> tuple[CTRecord, Comparison]:
    """Generate a CT from the contoured structures of a case on the bundle's frame, and compare where it was stored."""
    grid = frame_for(labels, metadata)
    given = on_frame(labels, grid, [str(name) for name in metadata["structures"]])
    start = time.perf_counter()
    with torch.no_grad():
        made = generator.generate(given, "", torch_rng(seed, case, "ct"), Progress())
    seconds = time.perf_counter() - start
    hu = resample(real.array.astype(np.float32), real.grid, grid, outside=real.modality.outside)
    on_grid = CTVolume(np.round(hu).astype(np.int16), grid, real.modality)
    known = resample(stored(real).astype(np.uint8), real.grid, grid, order=0).astype(bool)
    medians = {}
    for name in given.names.values():
        mask = given.mask(name) & known
        if mask.any():
            medians[name] = (float(np.median(made.array[mask])), float(np.median(hu[mask])))
    difference = histogram_difference(made.array[body_of(made) & known], on_grid.array[body_of(on_grid) & known])
    return CTRecord(case, medians, difference, seconds), Comparison(case, on_grid, made, given, known)


def histogram_difference(a: NDArray, b: NDArray) -> float:
    """Half the summed absolute difference of two HU histograms (shares of 50 HU bins): 0 the same, 1 disjoint.

    It is the share of voxels that would have to change their bin.
    """
    if not len(a) or not len(b):
        return float("nan")
    shares = [np.histogram(np.clip(x, _EDGES[0], _EDGES[-1]), _EDGES)[0] / len(x) for x in (a, b)]
    return float(np.abs(shares[0] - shares[1]).sum() / 2)


def summarise(records: list[CTRecord], metadata: dict[str, Any], seed: int) -> dict[str, Any]:
    """By structure: the share of cases whose generated median lies within the training voxels' range, and the medians.

    `overall.hu_median_inside` is the mean of the structures' shares, `overall.histogram_difference` is over cases.
    """
    found: dict[str, Any] = {}
    shares = []
    for name in metadata["structures"]:
        every = np.array([r.medians.get(name, (np.nan, np.nan)) for r in records]).reshape(-1, 2)
        known = np.isfinite(every[:, 0])
        range_hu = metadata.get("hu", {}).get(name)
        if not known.any() or not range_hu:
            continue
        pairs, inside = every[known], (every[:, 0] >= range_hu[0]) & (every[:, 0] <= range_hu[1])
        shares.append(np.where(known, inside, np.nan))
        found[name] = {
            "hu_median_inside": metrics.summary(inside[known], seed),
            "hu_median": metrics.summary(pairs[:, 0], seed),
            "hu_median_real": metrics.summary(pairs[:, 1], seed),
            "hu_median_error": metrics.summary(np.abs(pairs[:, 0] - pairs[:, 1]), seed),
            "hu_range": [float(range_hu[0]), float(range_hu[1])],
        }
    if records:
        difference = metrics.summary([r.histogram_difference for r in records], seed)
        overall = metrics.mean_of_means(np.stack(shares, axis=1) if shares else np.zeros((len(records), 0)), seed)
        found["overall"] = {"hu_median_inside": overall, "histogram_difference": difference}
    return found
