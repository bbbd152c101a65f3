"""Cohort folders to review, made without a model: heads with a mandible, each a little other."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from sketch2ct import results
from sketch2ct.cohort.case import case_name
from sketch2ct.cohort.thumb import thumb, write_thumb
from sketch2ct.geometry import Grid, Plane
from sketch2ct.imaging import CTVolume, LabelVolume
from sketch2ct.request import GenerationRequest, Sketch

BUNDLE_HASH = "ab" * 32
HEADNECK = Grid.centred((0, 0, 0), (4, 4, 3), (112, 80, 96))
SMALL = Grid.centred((3, -5, 8), (4, 4, 4), (28, 26, 24))
NAMES = {1: "mandible"}
_WORDS = ("a broad mandible, about {ml:.0f} mL, with thin rami", "a small mandible of {ml:.0f} mL", "the mandible is long, {ml:.0f} mL")
_REASON = "The mandible follows the sketch with a Dice of only {dice:.2f}."


def make_cohort(root: Path, count: int, grid: Grid = SMALL, *, total: int | None = None, thumbs: bool = True) -> Path:
    """`count` cases; every fifth is flagged. The volume, the place and the words are others in each."""
    (root / "cases").mkdir(parents=True)
    for number in range(1, count + 1):
        make_case(root / "cases" / case_name(number), number, grid, thumbs=thumbs)
    write_facts(root, total or count)
    return root


def write_facts(root: Path, total: int, **more: Any) -> None:
    facts = {"version": 1, "spec": {}, "total": total, "bundle": "headneck", "bundle_hash": BUNDLE_HASH, "versions": {}, "created": ""}
    (root / "cohort.json").write_text(json.dumps(facts | more))


def lengthen(root: Path, count: int) -> None:
    """Copies of the cases that are there, in turn, until there are `count`. Files are linked, so that thousands cost no room."""
    have = sorted(path.name for path in (root / "cases").iterdir())
    for number in range(len(have) + 1, count + 1):
        shutil.copytree(root / "cases" / have[(number - 1) % len(have)], root / "cases" / case_name(number), copy_function=_link)
    write_facts(root, count)


def _link(source: str, target: str) -> None:
    Path(target).hardlink_to(source)


def make_case(folder: Path, number: int, grid: Grid, *, thumbs: bool = True) -> None:
    rng = np.random.default_rng(number)
    labels = mandible(grid, 0.85 + 0.05 * (number % 7), 2.0 * (number % 5))
    hu = head(grid, rng)
    hu[labels > 0] = 700 + number
    ml, dice = float((labels > 0).sum() * grid.voxel_ml), 0.99 - 0.01 * (number % 20) - (0.2 if number % 5 == 0 else 0)
    request = GenerationRequest([outline(labels, grid)], _WORDS[number % 3].format(ml=ml), seed=number)
    results.write_images(folder, results.Result(LabelVolume(labels, grid, NAMES), CTVolume(hu, grid), request))
    measured = {"volume_ml": ml, "volume_percentile": 50.0, "components": 1, "largest_share": 1.0}
    sketch = {"structure": "mandible", "plane": "axial", "meaning": "cross_section", "dice": dice, "contour_distance_95_mm": 1.5}
    quality = {"sketches": [sketch], "structures": {"mandible": measured}, "warnings": []}
    results.write_manifest(folder, {"bundle": "headneck", "bundle_hash": BUNDLE_HASH, "seed": number, "quality": quality})
    flagged = number % 5 == 0
    gate = {"verdict": "flag" if flagged else "pass", "reasons": [_REASON.format(dice=dice)] if flagged else []}
    facts = {"version": 1, "case": folder.name, "group": f"g{number:04d}", "source": "base request", "structure": "mandible", "drawn": {}}
    (folder / "case.json").write_text(json.dumps(facts | {"gate": gate}))
    if thumbs:
        write_thumb(folder / "thumb.png", thumb(LabelVolume(labels, grid, NAMES), CTVolume(hu, grid), "mandible"))


def mandible(grid: Grid, size: float, shift: float) -> np.ndarray:
    """An arch that opens to the back; `shift` mm upwards."""
    r, a, s = np.moveaxis(grid.voxel_centres() - grid.centre, -1, 0)
    ring = np.hypot(r / (40 * size), (a - 4) / (34 * size))
    arch = (np.abs(ring - 1) < 0.22) & (a > 0) & (np.abs(s - shift) < 12 * size)
    rami = (np.abs(np.abs(r) - 40 * size) < 7) & (np.abs(a) < 10) & (s > shift - 8) & (s < shift + 26 * size)
    return (arch | rami).astype(np.uint8)


def head(grid: Grid, rng: np.random.Generator) -> np.ndarray:
    r, a, s = np.moveaxis(grid.voxel_centres() - grid.centre, -1, 0)
    hu = rng.normal(-990, 8, grid.shape)
    inside = (r / 78) ** 2 + (a / 66) ** 2 < 1
    hu[inside] = 40 + rng.normal(0, 14, grid.shape)[inside]
    hu[inside & ((r / 72) ** 2 + (a / 60) ** 2 > 1)] -= 130
    hu[(np.hypot(r, a + 40) < 9) & (s < 60)] = 420
    hu[np.hypot(r, a - 6) < 8] = -950
    return hu.astype(np.int16)


def outline(labels: np.ndarray, grid: Grid) -> Sketch:
    """A closed stroke about the lowest slice's arch, on the axial plane through its middle."""
    place = grid.to_ras(np.argwhere(labels)).mean(axis=0)
    plane = Plane.named("axial", [place[0], place[1], place[2] - 8])
    angle = np.linspace(0, np.pi, 40)
    outer = np.stack([44 * np.cos(angle), 38 * np.sin(angle) - 8], axis=1)
    inner = np.stack([34 * np.cos(angle[::-1]), 28 * np.sin(angle[::-1]) - 8], axis=1)
    return Sketch("mandible", plane, [plane.to_ras(np.concatenate([outer, inner]))])
