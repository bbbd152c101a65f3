"""The same masks asked for in other ways, beside one sketch of the largest section with the full description.

    axial, non_axial    the sketch is the largest axial section, or the largest coronal or sagittal one
    two_sketches        the largest section, and the largest one across another axis
    sketch_only         no description
    text_only           no sketch. Words do not say where, so the mask is moved onto the truth's centroid; its volume and pieces are
                        those before
    hand_1, 2, 3        the sketch wavers as `sketching.hand` does: careful (about 1 mm), hurried, hasty

Every condition starts from the noise that the mask it is compared with started from.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..describe import Ranges
from ..generation import MaskGenerator
from ..geometry import ORIENTATIONS, Grid
from ..request import Sketch
from . import metrics, report
from .case import METRICS, Mask, MaskRecord, Question, draw, make, record_of, torch_rng

HANDS = (1, 2, 3)
CONDITIONS = ("axial", "non_axial", "two_sketches", "sketch_only", "text_only", *(f"hand_{n}" for n in HANDS))
ROOM_MM = 10.0  # beyond the largest training case, where words alone place a structure


@dataclass(frozen=True)
class Asked:
    """What a condition gives to the generator."""

    sketches: tuple[Sketch, ...]
    text: str


def requests(q: Question, seed: int, hand: float = 0.0) -> dict[str, Asked]:
    """Condition -> what is asked; those whose section is too small to be drawn are left out."""

    def sketch(strength: float, *orientations: str) -> Sketch:
        return draw(q.case, q.structure, q.mask, q.grid, seed, strength, orientations or ORIENTATIONS)

    others = [name for name in ORIENTATIONS if name != q.sketch.plane.orientation]
    ways = {
        "axial": lambda: Asked((sketch(hand, "axial"),), q.description),
        "non_axial": lambda: Asked((sketch(hand, "coronal", "sagittal"),), q.description),
        "two_sketches": lambda: Asked((q.sketch, sketch(hand, *others)), q.description),
        "sketch_only": lambda: Asked((q.sketch,), ""),
        "text_only": lambda: Asked((), q.description),
        **{f"hand_{n}": lambda n=n: Asked((sketch(float(n)),), q.description) for n in HANDS},  # type: ignore[misc]
    }
    found = {}
    for name, way in ways.items():
        try:
            found[name] = way()
        except ValueError:  # the structure is too thin across that axis
            continue
    return found


def roomy(grid: Grid, ranges: Ranges, placement: Iterable[float]) -> Grid:
    """A grid with the voxels of `grid` in which words alone place a structure whole: `placement` (RAS mm) from its middle."""
    extents = [ranges.value_at(f"extent_{axis}_mm", 100) for axis in ("lr", "ap", "cc")]
    half = np.abs(np.asarray(tuple(placement))) + np.asarray(extents) + ROOM_MM
    cells = np.ceil(np.abs(np.linalg.inv(grid.affine[:3, :3])) @ half).astype(int)
    affine = grid.affine.copy()
    affine[:3, 3] = grid.centre - affine[:3, :3] @ cells
    return Grid((2 * cells[0] + 1, 2 * cells[1] + 1, 2 * cells[2] + 1), affine)


def answer(q: Question, asked: Asked, generator: MaskGenerator, room: Grid, seed: int) -> tuple[MaskRecord, Mask]:
    """The mask of a condition, measured as `case.answer` does; from words alone it is made on `room`."""
    start = time.perf_counter()
    grid = q.grid if asked.sketches else room
    mask = make(generator, q.structure, asked.sketches, asked.text, grid, torch_rng(seed, q.case, q.structure, "sample 0"))
    seconds = time.perf_counter() - start
    if asked.sketches:
        return record_of(q, mask, 0, seconds, asked.sketches), mask
    moved = metrics.moved_onto(mask, q.mask)
    record = record_of(q, moved, 0, seconds, ())
    record.volume_ml = float(mask.sum() * grid.voxel_ml)
    record.values["volume_error"] = metrics.volume_error(record.volume_ml, record.true_ml)
    record.values["components"] = metrics.components(mask)
    return record, moved


def measure(
    questions: Iterable[Question], generator: MaskGenerator, ranges: dict[str, Ranges], metadata: dict[str, Any], seed: int, hand: float
) -> dict[str, list[MaskRecord]]:
    """Condition -> the records of its masks."""
    records: dict[str, list[MaskRecord]] = {name: [] for name in CONDITIONS}
    for q in questions:
        room = roomy(q.grid, ranges[q.structure], metadata.get("placement", {}).get(q.structure, (0.0, 0.0, 0.0)))
        for name, asked in requests(q, seed, hand).items():
            records[name].append(answer(q, asked, generator, room, seed)[0])
    return records


def summarise(conditions: dict[str, list[MaskRecord]], reference: list[MaskRecord], seed: int) -> dict[str, Any]:
    """Condition -> structure and `mean_of_five` -> the METRICS, and `dice_3d_gain`: the 3D Dice less that of the same patient's mask
    from one sketch and the full description (`reference`)."""
    result = {}
    for name, records in conditions.items():
        if not records:
            continue
        result[name] = report.summarise_masks(records, seed, METRICS)
        gains = _gains(records, [r for r in reference if r.sample == 0])
        for key, entry in result[name].items():
            names = [n for n in report.FIVE if n in result[name]] if key == "mean_of_five" else [key]
            entry["dice_3d_gain"] = metrics.mean_of_means(metrics.table(gains, names), seed)
    return result


def _gains(records: list[MaskRecord], reference: list[MaskRecord]) -> dict[tuple[str, str], float]:
    before = {(r.case, r.structure): r.values["dice_3d"] for r in reference}
    both = [r for r in records if (r.case, r.structure) in before]
    return {(r.case, r.structure): r.values["dice_3d"] - before[r.case, r.structure] for r in both}
