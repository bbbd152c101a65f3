"""Cohort folders for tests of exports, made without a model: a few cases with boxes for organs, each written in an instant."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np

from result_folders import turned_grid, write_result
from sketch2ct.cohort.folder import Cohort
from sketch2ct.geometry import Grid
from sketch2ct.imaging import write_nifti

NAMES = {7: "mandible", 4: "parotid_gland_left", 6: "larynx"}  # neither consecutive nor in the vocabulary's order


def plain_grid() -> Grid:
    """Axes left, posterior, superior, as scanners have them; anisotropic."""
    affine = np.diag([-1.5, -2.0, 3.0, 1.0])
    affine[:3, 3] = [30.25, 41.5, -17.0]
    return Grid((24, 20, 16), affine)


def flipped_grid() -> Grid:
    """First axis inferior, second axis to the right, third axis anterior: permuted and flipped, left-handed."""
    affine = np.zeros((4, 4))
    affine[2, 0], affine[0, 1], affine[1, 2], affine[3, 3] = -2.5, 1.25, 1.75, 1.0
    affine[:3, 3] = [-20.0, 15.5, 101.0]
    return Grid((16, 24, 20), affine)


def oblique_grid(left_handed: bool = False) -> Grid:
    """Turned about all axes."""
    return turned_grid(left_handed, (24, 20, 16))


GRIDS = {
    "plain": plain_grid,
    "flipped": flipped_grid,
    "oblique": oblique_grid,
    "left-handed": lambda: oblique_grid(left_handed=True),
}


def organs(grid: Grid, values: tuple[int, ...] = (7, 4)) -> np.ndarray:
    """A U-shaped organ with a hole (value 7) and a smaller block (value 4), neither symmetric in any axis."""
    labels = np.zeros(grid.shape, np.uint8)
    i, j, k = (n // 4 for n in grid.shape)
    if 7 in values:
        labels[i : 3 * i, j : 3 * j, k : k + 4] = 7
        labels[i + 2 : i + 4, j + 2 : j + 5, k : k + 4] = 0  # a hole in every slice, along the third axis
        labels[2 * i : 3 * i, 2 * j :, k : k + 4] = 0
        labels[i : i + 2, j : j + 2, k + 4 : k + 6] = 7
    if 4 in values:
        labels[i + 1 : 2 * i + 1, j : j + 3, 2 * k + 1 : 3 * k] = 4
    return labels


def add_case(
    root: Path,
    number: int,
    grid: Grid,
    labels: np.ndarray | None = None,
    *,
    group: str = "",
    gate: str = "pass",
    ct: bool = True,
    names: dict[int, str] = NAMES,
    seed: int | None = None,
) -> str:
    """A complete case; its name. Without a `group` it has one of its own."""
    name = f"case-{number:05d}"
    labels = organs(grid) if labels is None else labels
    folder = write_result(root / "cases" / name, grid, labels, names, ct=ct, seed=40 + number if seed is None else seed)
    if ct:  # every voxel its own, so that a flip, a shift or another case shows
        rng = np.random.default_rng(number)
        write_nifti(folder / "ct.nii.gz", rng.integers(-1024, 3072, grid.shape).astype(np.int16), grid)
    facts = {"version": 1, "case": name, "group": group or f"g{number:04d}", "source": "base request", "structure": "mandible", "drawn": {}}
    reasons = [] if gate == "pass" else ["The mandible is in 3 pieces."]
    (folder / "case.json").write_text(json.dumps({**facts, "gate": {"verdict": gate, "reasons": reasons}}))
    return name


def start_cohort(root: Path, total: int = 4) -> Path:
    """A cohort folder without cases."""
    root.mkdir(parents=True)
    facts = {"version": 1, "spec": {"gates": {"pieces": True}}, "total": total, "bundle": "headneck", "bundle_hash": "ab" * 32}
    (root / "cohort.json").write_text(json.dumps(facts | {"versions": {}, "created": "2026-01-01T00:00:00Z"}))
    return root


def make_cohort(root: Path, cases: int = 4, grid: Grid | None = None) -> Path:
    """A cohort of complete cases, two in a group."""
    start_cohort(root, cases)
    for number in range(1, cases + 1):
        add_case(root, number, grid or plain_grid(), group=f"g{(number + 1) // 2:04d}")
    return root


def add_edit(root: Path, case: str, labels: np.ndarray, names: dict[int, str] | None = None) -> int:
    """An edited mask on the grid of the generated one; its version."""
    cohort = Cohort.open(root)
    from sketch2ct.imaging import read_image

    _, grid = read_image(cohort.case(case).labels_path(0))
    path = root / "edit.nii.gz"
    write_nifti(path, labels, grid)
    version = cohort.add_edit(case, path, "AB", names=names)
    path.unlink()
    return version


def damage(path: Path) -> None:
    """Cut a file short."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def without(root: Path, *parts: str) -> None:
    """Remove folders of a cohort."""
    for part in parts:
        shutil.rmtree(root / part)
