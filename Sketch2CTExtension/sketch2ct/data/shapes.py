"""Training shapes: signed distances of every contoured structure, with variants, sketches, facts and sentences, in one cache.

A structure that was not contoured in a case simply has no shape there, so it is never taken as background.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from multiprocessing import get_context
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .. import describe
from ..anatomy import vocabulary
from ..geometry import Grid, Plane, Points
from ..sketching import ORIENTATIONS, crop, largest_section, random_plane, section
from .nnunet import Dataset

CLIP_MM = 16.0  # signed distances are stored as int8 of 1/8 mm
MARGIN_MM = 18.0


@dataclass
class Outline:
    """An exact outline (no hand yet): closed lines, RAS mm, on a plane."""

    plane: Plane
    lines: list[Points]
    meaning: str = "cross_section"
    best: bool = False


@dataclass
class Variant:
    """A shape moved by `transform` (4x4 RAS -> RAS, maybe a mirror): its structure's name, facts, outlines, sentences."""

    structure: str
    transform: NDArray[np.float64]
    facts: describe.Facts
    outlines: list[Outline]
    texts: list[str] = field(default_factory=list)


@dataclass
class Shape:
    """One structure of one case: signed distance in 1/8 mm (positive inside) on `grid`, and its variants."""

    case: str
    structure: str
    distance: NDArray[np.int8]
    grid: Grid
    variants: list[Variant]


def signed_distance(mask: NDArray[np.bool_], grid: Grid) -> NDArray[np.float32]:
    """Signed distance to the mask's border in mm, positive inside; zero lies half-way between voxel centres."""
    inner = ndimage.distance_transform_edt(mask, sampling=grid.spacing)
    outer = ndimage.distance_transform_edt(~mask, sampling=grid.spacing)
    return (inner - outer).astype(np.float32)


def sample(distance: NDArray, source: Grid, target: Grid, transform: NDArray[np.float64] | None = None) -> NDArray[np.float32]:
    """The (moved) signed distance in mm at the voxel centres of `target`; `transform` maps source RAS to target RAS."""
    back = np.eye(4) if transform is None else np.linalg.inv(transform)
    matrix = np.linalg.inv(source.affine) @ back @ target.affine
    values = ndimage.affine_transform(
        distance, matrix[:3, :3], matrix[:3, 3], output_shape=target.shape, output=np.float32, order=1, mode="nearest"
    )
    return values / 8 if distance.dtype == np.int8 else values


def random_transform(centre: NDArray[np.float64], rng: np.random.Generator, *, mirror: bool) -> NDArray[np.float64]:
    """A plausible other patient: scaling by 0.8-1.25 overall and 0.92-1.08 by axis, rotation to 8 degrees, small shear, maybe a mirror."""
    linear = np.diag(np.exp(rng.normal(0, 0.09) + rng.normal(0, 0.04, 3)))
    linear = linear @ (np.eye(3) + np.triu(rng.normal(0, 0.03, (3, 3)), 1))
    for a, b in ((0, 1), (0, 2), (1, 2)):
        angle = np.radians(np.clip(rng.normal(0, 4), -8, 8))
        turn = np.eye(3)
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        linear = turn @ linear
    if mirror:
        linear = np.diag([-1.0, 1, 1]) @ linear
    matrix = np.eye(4)
    matrix[:3, :3] = linear
    matrix[:3, 3] = centre - linear @ centre
    return matrix


def _outlines(mask: NDArray[np.bool_], grid: Grid, rng: np.random.Generator) -> list[Outline]:
    best = largest_section(mask, grid)
    planes = [(best, "cross_section", True)]
    planes += [(largest_section(mask, grid, (name,)), "cross_section", False) for name in ORIENTATIONS if name != best.orientation]
    planes += [(random_plane(mask, grid, rng), "cross_section", False) for _ in range(2)]
    planes += [(random_plane(mask, grid, rng, oblique=True), "cross_section", False)]
    planes += [(Plane.named(str(rng.choice(ORIENTATIONS)), grid.to_ras(np.argwhere(mask)).mean(0)), "silhouette", False)]
    found = []
    for plane, meaning, is_best in planes:
        lines = section(mask, grid, plane, silhouette=meaning == "silhouette", step=1.25)
        if lines:
            found.append(Outline(plane, [line.astype(np.float32) for line in lines], meaning, is_best))
    return found


def build_shape(case: str, structure: str, mask: NDArray[np.bool_], grid: Grid, variants: int, seed: int, *, mirror: bool = True) -> Shape:
    """The cached shape of one contoured structure: the patient's own and `variants - 1` moved ones, with `mirror` every other one
    mirrored (an organ that lies on one side must not be)."""
    rng = np.random.default_rng([seed, crc32(f"{case}/{structure}".encode())])
    margin = int(np.ceil(MARGIN_MM / grid.spacing.min()))
    small, small_grid = crop(mask, grid, margin)
    distance = np.clip(np.round(signed_distance(small, small_grid) * 8), -8 * CLIP_MM, 127).astype(np.int8)
    shape = Shape(case, structure, distance, small_grid, [])
    centre = small_grid.to_ras(np.argwhere(small)).mean(0)
    for n in range(variants):
        name, transform, own, own_grid = structure, np.eye(4), small, small_grid
        if n:
            mirrored = mirror and bool(n % 2)
            transform = random_transform(centre, rng, mirror=mirrored)
            name = (vocabulary()[structure].mirror or structure) if mirrored else structure
            corners = small_grid.corners() @ transform[:3, :3].T + transform[:3, 3]
            spacing = np.clip(small_grid.spacing, 2.0, 3.0)
            cells = np.ceil(np.ptp(corners, axis=0) / spacing).astype(int)
            own_grid = Grid.centred((corners.min(0) + corners.max(0)) / 2, spacing, tuple(cells))
            own = sample(distance, small_grid, own_grid, transform) > 0
            if not own.any():
                continue
        facts = describe.measure(own, own_grid.affine)
        shape.variants.append(Variant(name, transform, facts, _outlines(own, own_grid, rng)))
    return shape


def _build_case(job: tuple[Dataset, str, tuple[str, ...], int, int, bool]) -> list[Shape]:
    dataset, case, structures, variants, seed, mirror = job
    labels = dataset.labels(case)
    shapes = []
    for name in dataset.labelled(case):
        if name in structures and labels.has(name):
            mask = usable(labels.mask(name), labels.grid, name)
            if mask is not None:
                shapes.append(build_shape(case, name, mask, labels.grid, variants, seed, mirror=mirror))
    return shapes


def usable(mask: NDArray[np.bool_], grid: Grid, structure: str) -> NDArray[np.bool_] | None:
    """A contour fit to learn from: stray pieces of a one-piece structure removed; None when it is mostly in pieces or its volume is
    outside the vocabulary's plausible range (contours of another structure under this name do occur in clinical data)."""
    known = vocabulary()[structure]
    if known.pieces == 1:
        parts, _ = ndimage.label(mask, np.ones((3, 3, 3)))
        sizes = np.bincount(parts.ravel())[1:]
        if sizes.max() < 0.6 * sizes.sum():
            return None
        mask = parts == 1 + int(sizes.argmax())
    low, high = known.volume_ml
    return mask if low <= mask.sum() * grid.voxel_ml <= high else None


def build_shapes(
    dataset: Dataset,
    cases: list[str],
    structures: tuple[str, ...],
    *,
    variants: int,
    seed: int,
    mirror: bool = True,
    workers: int = 2,
) -> list[Shape]:
    """The shapes of all contoured structures of the cases. One worker is this process."""
    jobs = [(dataset, case, structures, variants, seed, mirror) for case in cases]
    if workers < 2:
        return [shape for job in jobs for shape in _build_case(job)]
    with get_context("spawn").Pool(workers) as pool:
        return [shape for found in pool.imap(_build_case, jobs) for shape in found]


def fit_ranges(shapes: list[Shape], *, own_only: bool = True) -> dict[str, describe.Ranges]:
    """Percentiles of every fact by structure, over the patients' own shapes."""
    facts: dict[str, list[describe.Facts]] = {}
    for shape in shapes:
        for variant in shape.variants[:1] if own_only else shape.variants:
            facts.setdefault(variant.structure, []).append(variant.facts)
    return {name: describe.Ranges.fit(values) for name, values in facts.items()}


def write_texts(shapes: list[Shape], ranges: dict[str, describe.Ranges], *, count: int, seed: int) -> None:
    """Give every variant its canonical sentence and `count - 1` random ones."""
    for shape in shapes:
        rng = np.random.default_rng([seed, crc32(f"text/{shape.case}/{shape.structure}".encode())])
        for variant in shape.variants:
            name, known = vocabulary()[variant.structure].spoken, ranges[variant.structure]
            variant.texts = [describe.canonical(variant.facts, name, known)]
            variant.texts += [describe.describe(variant.facts, name, known, rng) for _ in range(count - 1)]
