"""Training regions: one class map a case at the frame's spacing, with what was contoured and what is measured on it. No torch."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .. import describe
from ..anatomy import vocabulary
from ..geometry import Grid
from ..masks.region_classes import UNKNOWN, Labels, RegionClasses
from .scans import Scan
from .shapes import usable


@dataclass
class Region:
    """One case: `labels` (i, j, k) on `grid`, UNKNOWN where the scan was not stored; `contoured` structures; `facts` of each of them.

    `under[s, d]` counts the voxels of structure s that thresholds call class d (0 outside, then the derived ones).
    """

    case: str
    labels: Labels
    grid: Grid
    contoured: tuple[str, ...]
    facts: dict[str, describe.Facts]
    under: NDArray[np.int64]

    @property
    def middles(self) -> dict[str, NDArray[np.float64]]:
        """RAS position (mm) of the middle of every contoured structure."""
        return {name: np.asarray(facts.centroid_ras) for name, facts in self.facts.items()}

    def mirrored(self, classes: RegionClasses) -> Region:
        """The same with left and right swapped in its middle plane, names too."""
        twin = {name: vocabulary()[name].mirror or name for name in classes.structures}
        across = 2 * float(self.grid.centre[0])
        facts = {}
        for name, own in self.facts.items():
            x, y, z = own.centroid_ras
            facts[twin[name]] = replace(own, centroid_ras=(across - x, y, z))
        order = [classes.structures.index(twin[name]) for name in classes.structures]
        flipped = np.ascontiguousarray(classes.mirrored()[self.labels[::-1]])
        return Region(self.case, flipped, self.grid, tuple(twin[name] for name in self.contoured), facts, self.under[order])

    def on(self, frame: Grid) -> Labels:
        """The class map on a frame of the same spacing and axes, moved by less than half a voxel.

        Beside the scan a stored slice holds nothing; above and below it nothing is known.
        """
        first = np.round(self.grid.to_index(frame.to_ras((0, 0, 0)))).astype(int)
        index = [np.clip(np.arange(a, a + n), 0, own - 1) for a, n, own in zip(first, frame.shape, self.labels.shape, strict=True)]
        result = self.labels[np.ix_(*index)]
        beside, beyond = (np.zeros(frame.shape, bool) for _ in range(2))
        for axis, (a, n, own) in enumerate(zip(first, frame.shape, self.labels.shape, strict=True)):
            at = np.arange(a, a + n)
            shape = [1, 1, 1]
            shape[axis] = n
            (beyond if axis == 2 else beside)[...] |= ((at < 0) | (at >= own)).reshape(shape)
        result[beside & (result != UNKNOWN)] = 0  # where the border itself is not known, what lies beside it is not either
        result[beyond] = UNKNOWN
        return result


def build_region(scan: Scan, classes: RegionClasses) -> Region:
    """The class map of a scan whose label channels are the structures, then the derived classes.

    A structure counts as contoured when training can use its contour (see `usable`); another contour tells nothing.
    """
    names = (*classes.structures, *classes.derived)
    masks = {name: scan.labels[n] >= 128 for n, name in enumerate(names)}
    plain = classes.labels({name: masks[name] for name in classes.derived})
    kept: dict[str, NDArray[np.bool_]] = {}
    for n, name in enumerate(classes.structures):
        if scan.labelled[n] and masks[name].any():
            clean = usable(masks[name], scan.grid, name)
            if clean is not None:
                kept[name] = clean
    labels = plain.copy()
    labels[~scan.known] = UNKNOWN
    under = np.zeros((len(classes.structures), classes.first), np.int64)
    for name, mask in kept.items():
        labels[mask] = classes.index(name)
        under[classes.structures.index(name)] = np.bincount(plain[mask & scan.known], minlength=classes.first)
    facts = {}
    for name in kept:
        mask = labels == classes.index(name)
        if mask.any():
            facts[name] = describe.measure(mask, scan.grid.affine)
    return Region(scan.case, labels, scan.grid, tuple(facts), facts, under)


def save_region(folder: Path, region: Region) -> None:
    """One region, compressed."""
    facts = json.dumps({name: own.to_dict() for name, own in region.facts.items()})
    text = np.frombuffer(facts.encode(), np.uint8)
    np.savez_compressed(folder / f"{region.case}.npz", labels=region.labels, affine=region.grid.affine, under=region.under, facts=text)


def load_regions(folder: Path) -> list[Region]:
    """Every region of a folder, by name."""
    found = []
    for path in sorted(folder.glob("*.npz")):
        with np.load(path, allow_pickle=False) as data:
            facts = {name: describe.Facts.from_dict(own) for name, own in json.loads(data["facts"].tobytes()).items()}
            grid = Grid(data["labels"].shape, data["affine"])
            found.append(Region(path.stem, data["labels"], grid, tuple(facts), facts, data["under"]))
    return found
