"""What can be had without learning: the best fitting training mask, and the mean training shape, moved to a sketch.

Both take one closed sketch. Position and isotropic scale come from the section's centroid and area: scale =
sqrt(area of the sketch / area of the template's section), and the template's section lands on the sketch's plane.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..data.nnunet import Dataset
from ..geometry import Grid, Plane, inside, outlines
from ..imaging import resample
from ..request import Sketch
from ..sketching import crop

Mask = NDArray[np.bool_]

CACHE_MM = 2.5
REACH = 3.0  # a section's raster spans -3..3 times the square root of its area: enough for a cord cut lengthwise
RASTER = 96
PLATEAU = 0.95  # sections this near to the largest one count as largest; the middle of them is taken
MEAN_CELLS = 64  # of the mean shape, along each axis


class Baseline(Protocol):
    """A sketch -> a mask on a grid."""

    def generate(self, sketch: Sketch, grid: Grid) -> Mask:
        """The mask (i, j, k) of the sketched structure."""


@dataclass(frozen=True)
class Section:
    """A filled section: its `centre` (RAS mm), `area` (mm²) and its normalised `raster` (RASTER, RASTER), flattened."""

    centre: NDArray[np.float64]
    area: float
    raster: NDArray[np.bool_]


@dataclass
class Template:
    """One shape: `share` (i, j, k) float32, how much of each voxel it fills (0..1), on `grid`."""

    share: NDArray[np.float32]
    grid: Grid
    _sections: dict[bytes, Section] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, mask: Mask, grid: Grid) -> Template:
        """A mask, resampled to CACHE_MM along the patient's axes."""
        small, small_grid = crop(mask, grid)
        corners = small_grid.corners()
        cells = np.ceil(np.ptp(corners, axis=0) / CACHE_MM).astype(int) + 1
        own = Grid.centred((corners.min(0) + corners.max(0)) / 2, [CACHE_MM] * 3, (cells[0], cells[1], cells[2]))
        return cls(resample(small.astype(np.float32), small_grid, own), own)

    @cached_property
    def points(self) -> NDArray[np.float64]:
        """RAS mm of the voxels that are mostly filled, (N, 3); those that are filled most when there is none."""
        return self.grid.to_ras(np.argwhere(self.share >= min(0.5, float(self.share.max()))))

    def section(self, plane: Plane) -> Section:
        """The section of largest area that is parallel to `plane`."""
        key = np.round(plane.matrix[:3, :3], 3).tobytes()
        if key not in self._sections:
            self._sections[key] = self._cut(plane)
        return self._sections[key]

    def _cut(self, plane: Plane) -> Section:
        axes = plane.matrix[:3, :3]
        uvw = self.points @ axes
        level = np.round((uvw[:, 2] - uvw[:, 2].min()) / CACHE_MM).astype(int)
        counts = np.convolve(np.bincount(level), [0.5, 1, 0.5], mode="same")  # layers need not fall evenly on levels
        plateau = uvw[counts[level] >= PLATEAU * counts[level].max(), 2]
        middle = plateau[np.abs(plateau - plateau.mean()).argmin()]
        slab = uvw[np.abs(uvw[:, 2] - middle) <= CACHE_MM / 2]
        centre, area = axes @ [*slab[:, :2].mean(0), middle], len(slab) * self.grid.voxel_ml * 1000 / CACHE_MM
        for _ in range(2):  # the slab's count is a first guess; the section itself tells its area and centre
            flat = _lattice() * np.sqrt(area)
            index = self.grid.to_index(centre + flat @ axes[:, :2].T)
            raster = ndimage.map_coordinates(self.share, index.T, order=1) >= 0.5
            if raster.any():
                centre = centre + axes[:, :2] @ flat[raster].mean(0)
                area = float(raster.sum()) * area * (2 * REACH / (RASTER - 1)) ** 2
        return Section(centre, area, raster)

    def place(self, own: Section, drawn: Section, grid: Grid) -> Mask:
        """The shape on `grid`, scaled and moved so that the section `own` has the centre and the area of `drawn`."""
        scale = np.sqrt(drawn.area / own.area)
        forth = np.diag([scale, scale, scale, 1.0])
        forth[:3, 3] = drawn.centre - scale * own.centre
        to_target = np.linalg.inv(grid.affine) @ forth @ self.grid.affine
        corners = np.array([[a, b, c, 1] for a in (0, 1) for b in (0, 1) for c in (0, 1)])
        reached = corners * np.append(np.array(self.grid.shape) - 1, 1) @ to_target.T
        low = np.clip(np.floor(reached.min(0)[:3]).astype(int) - 1, 0, grid.shape)
        high = np.clip(np.ceil(reached.max(0)[:3]).astype(int) + 2, 0, grid.shape)
        result = np.zeros(grid.shape, dtype=bool)
        if (high > low).all():
            back = np.linalg.inv(to_target)
            offset = back[:3, :3] @ low + back[:3, 3]
            box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
            result[box] = ndimage.affine_transform(self.share, back[:3, :3], offset, output_shape=tuple(high - low), order=1) >= 0.5
        return result


def _lattice() -> NDArray[np.float64]:
    """The raster's points (RASTER², 2), in units of the square root of a section's area."""
    line = np.linspace(-REACH, REACH, RASTER)
    return np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1).reshape(-1, 2)


def sketch_section(sketch: Sketch) -> Section:
    """The filled outline of a sketch."""
    polygons = outlines([sketch.plane.to_plane(stroke)[:, :2] for stroke in sketch.strokes])
    points = np.concatenate(polygons)
    axes = [np.arange(a, b + 1, 1.0) for a, b in zip(points.min(0), points.max(0), strict=True)]
    raster = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    within = raster[inside(polygons, raster)]
    if not len(within):  # thinner than the raster: the outline itself
        within = points
    centre, area = within.mean(0), float(len(within))
    return Section(sketch.plane.to_ras(centre), area, inside(polygons, centre + _lattice() * np.sqrt(area)))


@dataclass
class Retrieval:
    """The training mask whose section, centred and scaled, has the best Dice with the sketch."""

    templates: list[Template]

    @classmethod
    def fit(cls, masks: Sequence[tuple[Mask, Grid]]) -> Retrieval:
        """From training masks of one structure."""
        return cls([Template.of(mask, grid) for mask, grid in masks])

    def generate(self, sketch: Sketch, grid: Grid) -> Mask:
        """The best training mask on the sketch, (i, j, k)."""
        drawn = sketch_section(sketch)
        sections = [template.section(sketch.plane) for template in self.templates]
        rasters = np.stack([section.raster for section in sections])
        overlap = 2 * (rasters & drawn.raster).sum(1) / np.maximum(rasters.sum(1) + drawn.raster.sum(), 1)
        best = int(overlap.argmax())
        return self.templates[best].place(sections[best], drawn, grid)


@dataclass
class MeanShape:
    """The mean of the training masks, each stretched to the mean extents about its box's centre."""

    template: Template

    @classmethod
    def fit(cls, masks: Sequence[tuple[Mask, Grid]]) -> MeanShape:
        """From training masks of one structure. The mean has the masks' mean volume at the level 0.5."""
        templates = [Template.of(mask, grid) for mask, grid in masks]
        boxes = [(t.points.min(0) - CACHE_MM / 2, t.points.max(0) + CACHE_MM / 2) for t in templates]
        extents = np.mean([high - low for low, high in boxes], axis=0)
        grid = Grid.centred((0, 0, 0), extents * 1.25 / MEAN_CELLS, (MEAN_CELLS,) * 3)
        shares = []
        for template, (low, high) in zip(templates, boxes, strict=True):
            stretch = np.diag([*((high - low) / extents), 1.0])
            stretch[:3, 3] = (low + high) / 2
            shares.append(resample(template.share, template.grid, Grid(grid.shape, stretch @ grid.affine)))
        mean = np.mean(shares, axis=0)
        level = np.quantile(mean, 1 - np.mean([(s >= 0.5).mean() for s in shares]))
        # Half the distance to the level and beyond, so that 0.5 is the border.
        return cls(Template(np.clip(0.5 + (mean - level), 0, 1).astype(np.float32), grid))

    def generate(self, sketch: Sketch, grid: Grid) -> Mask:
        """The mean shape on the sketch, (i, j, k)."""
        return self.template.place(self.template.section(sketch.plane), sketch_section(sketch), grid)


METHODS: dict[str, Callable[[Sequence[tuple[Mask, Grid]]], Baseline]] = {
    "retrieval": Retrieval.fit,
    "mean_shape": MeanShape.fit,
}


def fit_baselines(dataset: Dataset, structures: Sequence[str], split: str = "Tr") -> dict[str, dict[str, Baseline]]:
    """Structure -> method (`retrieval`, `mean_shape`) -> baseline, from every mask that was contoured in a split."""
    masks: dict[str, list[tuple[Mask, Grid]]] = {name: [] for name in structures}
    for case in dataset.cases(split):
        labels, listed = dataset.labels(case), dataset.labelled(case)
        for name in structures:
            if name in listed and labels.has(name):
                masks[name].append(crop(labels.mask(name), labels.grid))
    return {name: {key: fit(found) for key, fit in METHODS.items()} for name, found in masks.items() if found}
