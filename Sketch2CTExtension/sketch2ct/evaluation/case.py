"""One mask of the evaluation: what is asked of a generator for a case and a structure, and how well it did."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray

from .. import describe
from ..anatomy import vocabulary
from ..generation import MaskCondition, MaskGenerator, Progress
from ..geometry import ORIENTATIONS, Grid
from ..request import Sketch
from ..sketching import largest_section, sketch_of
from . import metrics
from .baselines import Baseline

Mask = NDArray[np.bool_]

METRICS = ("dice_3d", "dice_plane", "dice_sketch", "surface_dice_3mm", "hd95_mm", "volume_error", "components")


@dataclass
class MaskRecord:
    """The figures of one generated mask; `values` metric -> number, `clean` the same after the generator's clean-up."""

    case: str
    structure: str
    sample: int
    plane: str
    volume_ml: float
    true_ml: float
    seconds: float
    values: dict[str, float] = field(default_factory=dict)
    clean: dict[str, float] | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON, NaN as None."""
        data = dict(vars(self))
        for key in ("values", "clean"):
            if data[key] is not None:
                data[key] = {k: round(float(v), 4) if np.isfinite(v) else None for k, v in data[key].items()}
        return data


@dataclass(frozen=True)
class Question:
    """What is asked: a true mask on its grid, its sketch, and its canonical description."""

    case: str
    structure: str
    mask: Mask
    grid: Grid
    sketch: Sketch
    description: str


def seeds(seed: int, *names: str) -> np.random.SeedSequence:
    """The randomness of one thing by its names, so that it does not depend on what else is evaluated."""
    return np.random.SeedSequence([seed, *(crc32(name.encode()) for name in names)])


def torch_rng(seed: int, *names: str) -> torch.Generator:
    """A generator on the CPU, seeded as `seeds`."""
    return torch.Generator().manual_seed(int(seeds(seed, *names).generate_state(1, np.uint64)[0] >> 1))


def ask(case: str, structure: str, mask: Mask, grid: Grid, ranges: describe.Ranges, seed: int, hand: float = 0.0) -> Question:
    """The sketch of the largest section of all three orientations, drawn exactly or by a hand of that strength, and the full
    description.

    Raises ValueError for a mask that is too small to be drawn.
    """
    sketch = draw(case, structure, mask, grid, seed, hand)
    text = describe.canonical(describe.measure(mask, grid.affine), vocabulary()[structure].spoken, ranges)
    return Question(case, structure, mask, grid, sketch, text)


def draw(
    case: str, structure: str, mask: Mask, grid: Grid, seed: int, hand: float = 0.0, orientations: tuple[str, ...] = ORIENTATIONS
) -> Sketch:
    """The outline of the largest section over some orientations, exact or by a hand of that strength. Raises ValueError."""
    plane = largest_section(mask, grid, orientations)
    return sketch_of(mask, grid, structure, plane, np.random.default_rng(seeds(seed, case, structure)), strength=hand)


def make(generator: MaskGenerator, structure: str, sketches: tuple[Sketch, ...], text: str, grid: Grid, rng: Any) -> Mask:
    """One mask (i, j, k) of one structure; all False when the generator made none."""
    condition = MaskCondition((structure,), sketches, text, grid)
    with torch.no_grad():
        made = generator.generate(condition, rng, Progress())
    return made.mask(structure) if made.has(structure) else np.zeros(grid.shape, dtype=bool)


def answer(question: Question, generator: MaskGenerator, baselines: dict[str, Baseline], seed: int, sample: int) -> tuple[MaskRecord, Mask]:
    """Generate the mask of a question and measure it, without and (where the generator has it) with clean-up."""
    q = question
    names = (q.case, q.structure, f"sample {sample}")
    start = time.perf_counter()
    mask = make(generator, q.structure, (q.sketch,), q.description, q.grid, torch_rng(seed, *names))
    record = record_of(q, mask, sample, time.perf_counter() - start, (q.sketch,))
    for name, baseline in baselines.items():
        record.values[f"{name}_dice_3d"] = metrics.dice(baseline.generate(q.sketch, q.grid), q.mask)
    if hasattr(generator, "clean_up"):
        record.clean = {key: record.values[key] for key in METRICS}
        if record.values["components"] > 1:  # with one piece there is nothing to clean up
            record.clean = measure(_cleaned(generator, q, torch_rng(seed, *names)), q)
    return record, mask


def record_of(q: Question, mask: Mask, sample: int, seconds: float, sketches: tuple[Sketch, ...]) -> MaskRecord:
    """The mask (i, j, k) of a question measured; `sketches` are those it was made from."""
    planes = "+".join(sketch.plane.orientation for sketch in sketches) or "none"
    ml = q.grid.voxel_ml
    record = MaskRecord(q.case, q.structure, sample, planes, float(mask.sum() * ml), float(q.mask.sum() * ml), seconds)
    record.values = measure(mask, q, sketches)
    return record


def _cleaned(generator: Any, q: Question, rng: torch.Generator) -> Mask:
    before = generator.clean_up
    generator.clean_up = True
    try:
        return make(generator, q.structure, (q.sketch,), q.description, q.grid, rng)
    finally:
        generator.clean_up = before


def measure(mask: Mask, q: Question, sketches: tuple[Sketch, ...] = ()) -> dict[str, float]:
    """Every metric of a mask against the truth and the sketches, or that of its question; on several planes, their mean."""
    on_planes = [metrics.plane_dice(mask, q.mask, q.grid, sketch) for sketch in sketches or (q.sketch,)]
    on_plane, with_sketch = (float(np.mean(values)) for values in zip(*on_planes, strict=True))
    return {
        "dice_3d": metrics.dice(mask, q.mask),
        "dice_plane": on_plane,
        "dice_sketch": with_sketch,
        "surface_dice_3mm": metrics.surface_dice(mask, q.mask, q.grid.spacing),
        "hd95_mm": metrics.hd95_mm(mask, q.mask, q.grid.spacing),
        "volume_error": metrics.volume_error(float(mask.sum()), float(q.mask.sum())),
        "components": metrics.components(mask),
    }
