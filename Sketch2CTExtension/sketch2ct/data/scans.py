"""Training scans: CT and labels of every case on one spacing, RAS axes, with derived structures and what was really stored."""

from __future__ import annotations

from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray

from ..geometry import Grid
from ..imaging import CTVolume, resample
from .derived import derive, stored
from .nnunet import Dataset


@dataclass
class Scan:
    """`hu` (i, j, k) int16, of an MR its normalised intensities;
    `labels` (L, i, j, k) uint8 0..255 = share of the voxel, one channel a name of `channels`;
    `labelled` which channels this case can give; `known` (i, j, k) bool, the voxels that were really stored."""

    case: str
    hu: NDArray[np.int16]
    labels: NDArray[np.uint8]
    labelled: NDArray[np.bool_]
    known: NDArray[np.bool_]
    grid: Grid


def _read(job: tuple[Dataset, str, tuple[str, ...], tuple[float, float, float]]) -> Scan:
    dataset, case, structures, spacing = job
    ct, labels = dataset.image(case), dataset.labels(case)
    masks = derive(ct)
    known = stored(ct, masks["body"])
    reach = masks["body"] & known
    for name in structures:
        if labels.has(name):
            reach = reach | labels.mask(name)
    index = np.argwhere(reach)
    corners = ct.grid.to_ras(np.array([index.min(0), index.max(0)]))
    shape = np.ceil(np.ptp(corners, axis=0) / spacing / 4 + 1).astype(int) * 4
    grid = Grid.centred(corners.mean(0), spacing, (int(shape[0]), int(shape[1]), int(shape[2])))
    given = set(dataset.labelled(case))
    channels, labelled = [], []
    for name in (*structures, *masks):
        mask = masks[name] & known if name in masks else (labels.mask(name) if labels.has(name) else np.zeros(ct.array.shape, bool))
        share = resample(mask.astype(np.float32), ct.grid, grid) if mask.any() else np.zeros(grid.shape, np.float32)
        channels.append(np.round(share * 255).astype(np.uint8))
        labelled.append(name in masks or (name in given and bool(mask.any())))
    hu = resample(ct.array.astype(np.float32), ct.grid, grid, outside=ct.modality.outside)
    inside = resample(known.astype(np.float32), ct.grid, grid) > 0.99
    return Scan(case, np.round(hu).astype(np.int16), np.stack(channels), np.array(labelled), inside, grid)


def build_scans(
    dataset: Dataset, cases: list[str], structures: tuple[str, ...], spacing: tuple[float, float, float], workers: int = 2
) -> list[Scan]:
    """The scans of the cases; label channels are `structures`, then those that the modality derives. One worker is this process."""
    jobs = [(dataset, case, structures, spacing) for case in cases]
    if workers < 2:
        return [_read(job) for job in jobs]
    with get_context("spawn").Pool(workers) as pool:
        return list(pool.imap(_read, jobs))


def real_ranges(dataset: Dataset, cases: list[str], structures: tuple[str, ...]) -> dict[str, tuple[float, float]]:
    """0.5 and 99.5 percentile of the HU of each structure over the stored voxels of the cases."""
    derived = dataset.modality.derived
    values: dict[str, list[NDArray]] = {name: [] for name in (*structures, *derived)}
    for case in cases:
        ct: CTVolume = dataset.image(case)
        labels, masks = dataset.labels(case), derive(ct)
        known = stored(ct, masks["body"])
        for name in values:
            mask = masks[name] if name in derived else (labels.mask(name) if labels.has(name) else None)
            if mask is not None and (mask & known).any():
                values[name].append(ct.array[mask & known][:: (50 if name in derived else 1)])
    return {name: tuple(np.percentile(np.concatenate(v), [0.5, 99.5]).round(1).tolist()) for name, v in values.items() if v}
