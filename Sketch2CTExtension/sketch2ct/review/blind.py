"""A folder for a blind reading: synthetic and real cases in random order, alike in all but the picture. No torch.

It opens like a cohort. Every case has neutral names, one mask and a CT on the same grid: the coarsest spacing and the smallest extent
of all chosen scans, the mask's structure in the middle. Synthetic and real scans go through the same steps: averaging over the larger
voxel, linear interpolation at a random shift of up to half a voxel (so that neither is sharper for lying on the grid already), the same
range of HU, whole numbers. What tells them apart lies in key.json alone (`blind_result`).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..anatomy import vocabulary
from ..cohort.case import COHORT_VERSION, THUMB, UNGATED, case_name
from ..cohort.folder import Cohort, CohortCase
from ..cohort.thumb import thumb, write_thumb
from ..data.nnunet import Dataset
from ..disk import created
from ..errors import BadRequest
from ..geometry import Grid
from ..imaging import CTVolume, LabelVolume, read_ct, read_labels, resample
from ..modality import CT
from ..request import GenerationRequest
from ..results import staged, write_image
from .blind_result import BLIND, KEY, KEY_VERSION, sha256
from .verdict import REAL, SYNTHETIC

LOW_HU, HIGH_HU = -1000, 2000  # air is equally black, and metal equally white, in both kinds
_LEAST = 8  # voxels along the shortest axis that are worth looking at


@dataclass(frozen=True)
class Scan:
    """A candidate: where it is from, its structure, and how to read its label map and CT."""

    kind: str
    origin: str
    structure: str
    labels: Callable[[], LabelVolume]
    ct: Callable[[], CTVolume]


def make_blind(cohort: Cohort, dataset: Dataset, split: str, cases: int, out: Path, seed: int) -> Path:
    """Write the folder `out` with `cases` synthetic and as many real cases of `split`; the folder.

    Each real case has a structure of a synthetic one, contoured. Raises BadRequest when there are too few, or `out` is taken.
    """
    if dataset.modality is not CT:
        raise BadRequest(f"{dataset.root} holds images of another kind than CT.", "Name a data set of CTs.")
    rng = np.random.default_rng(seed)
    made = _synthetic(cohort, cases, rng)
    scans = made + _real(dataset, split, [scan.structure for scan in made], rng)
    frame = _common_frame(scans)
    order = rng.permutation(len(scans))
    key: dict[str, Any] = {}
    with staged(Path(out), voxels=len(scans) * int(np.prod(frame.shape))) as folder:
        for number, place in enumerate(order, start=1):
            name, scan = case_name(number), scans[int(place)]
            key[name] = {"kind": scan.kind, "origin": scan.origin, "sha256": _write_case(folder / "cases" / name, name, scan, frame, rng)}
        _write(folder / KEY, {"version": KEY_VERSION, "seed": seed, "cohort": str(cohort.root), "data": str(dataset.root), "cases": key})
        facts = {"bundle": cohort.bundle, "bundle_hash": cohort.bundle_hash, "versions": {}, "created": created()}
        about = {"not_for_clinical_use": True, "holds_patients": True, BLIND: True}
        _write(
            folder / "cohort.json", {"version": COHORT_VERSION, "spec": {BLIND: {"cases": cases}}, "total": len(scans), **facts, **about}
        )
    return Path(out)


def _synthetic(cohort: Cohort, count: int, rng: np.random.Generator) -> list[Scan]:
    fit = [case for case in cohort.cases() if case.ct_path.is_file() and case.gate != "reject"]
    if len(fit) < count:
        told = f"{cohort.root} has {len(fit)} cases with a CT that no gate rejected; {count} are needed."
        raise BadRequest(told, "Ask for fewer, or make more cases.")
    return [_of_cohort(fit[int(n)]) for n in rng.choice(len(fit), count, replace=False)]


def _of_cohort(case: CohortCase) -> Scan:
    def labels() -> LabelVolume:
        return read_labels(case.labels_path(), case.names())

    return Scan(SYNTHETIC, case.name, case.structure, labels, lambda: read_ct(case.ct_path))


def _real(dataset: Dataset, split: str, structures: list[str], rng: np.random.Generator) -> list[Scan]:
    """One case of the split for each structure, none twice."""
    cases = dataset.cases(split)
    free = [cases[int(n)] for n in rng.permutation(len(cases))]
    labelled = {case: set(dataset.labelled(case)) for case in free}
    chosen = []
    # Rare structures choose first, or a case that has everything is taken by one that could have had another.
    for structure in sorted(structures, key=lambda name: sum(name in held for held in labelled.values())):
        case = next((case for case in free if structure in labelled[case]), None)
        if case is None:
            told = f"The split '{split}' of {dataset.root} has too few cases with a contoured {structure}."
            raise BadRequest(told, "Ask for fewer cases, or name another split.")
        free.remove(case)
        chosen.append(_of_dataset(dataset, case, structure))
    return chosen


def _of_dataset(dataset: Dataset, case: str, structure: str) -> Scan:
    return Scan(REAL, case, structure, lambda: dataset.labels(case), lambda: dataset.image(case))


def _common_frame(scans: list[Scan]) -> Grid:
    """A grid about the origin, axes R, A, S: the coarsest spacing of all scans, and no larger than the smallest. Raises BadRequest."""
    grids = [scan.ct().grid for scan in scans]
    spacing = np.max([np.abs(grid.affine[:3, :3]).max(axis=1) for grid in grids], axis=0)
    inner = np.min([_extent(grid) for grid in grids], axis=0) - spacing  # room for the random shift
    shape = np.floor(inner / spacing + 1e-6).astype(int)
    if shape.min() < _LEAST:
        size = " x ".join(f"{n:.0f}" for n in inner)
        raise BadRequest(f"What all scans have in common is only {size} mm.", "Choose scans of larger fields of view.")
    return Grid.centred((0, 0, 0), spacing, (int(shape[0]), int(shape[1]), int(shape[2])))


def _extent(grid: Grid) -> NDArray[np.float64]:
    """Size along R, A, S, mm."""
    return np.abs(grid.affine[:3, :3]) @ np.asarray(grid.shape, dtype=np.float64)


def _write_case(folder: Path, name: str, scan: Scan, frame: Grid, rng: np.random.Generator) -> dict[str, str]:
    """One case; file -> hash of the files that are looked at. `rng` is drawn from equally often whatever the case is."""
    folder.mkdir(parents=True)
    labels, ct = scan.labels(), scan.ct()
    target = _placed(frame, labels, scan.structure, rng.uniform(-0.5, 0.5, 3))
    hu = _brought(ct.array.astype(np.float32), ct.grid, target, outside=LOW_HU)
    share = _brought(labels.mask(scan.structure).astype(np.float32), labels.grid, target, outside=0.0)
    image = np.clip(np.round(hu), LOW_HU, HIGH_HU).astype(np.int16)
    mask = (share >= 0.5).astype(np.uint8)
    write_image(folder / "ct.nii.gz", image, frame)  # on the frame about the origin: places in the scanner would tell
    write_image(folder / "labels.nii.gz", mask, frame)
    _write(folder / "labels.json", {"1": scan.structure})
    request = GenerationRequest(sketches=[], description=vocabulary()[scan.structure].spoken)
    request.write(folder / "request.json")
    _write(folder / "manifest.json", {BLIND: True, "not_for_clinical_use": True})
    facts = {"group": name, "source": "hidden", "structure": scan.structure, "drawn": {}}
    _write(folder / "case.json", {"version": 1, "case": name, **facts, "gate": {"verdict": UNGATED, "reasons": []}})
    write_thumb(folder / THUMB, thumb(LabelVolume(mask, frame, {1: scan.structure}), CTVolume(image, frame), scan.structure))
    return {file: sha256(folder / file) for file in ("ct.nii.gz", "labels.nii.gz", "labels.json")}


def _placed(frame: Grid, labels: LabelVolume, structure: str, shift: NDArray[np.float64]) -> Grid:
    """The frame in a scan: the structure's box in the middle as far as the scan reaches, then moved by `shift` voxels."""
    mask = labels.mask(structure)
    if not mask.any():
        raise BadRequest(f"A label map holds no voxel of '{structure}'.", "Choose other cases.")
    places = labels.grid.to_ras(np.argwhere(mask))
    centre = (places.min(axis=0) + places.max(axis=0)) / 2
    room = (_extent(labels.grid) - _extent(frame) - frame.spacing) / 2
    centre = np.clip(centre, labels.grid.centre - room, labels.grid.centre + room)
    return Grid.centred(centre + shift * frame.spacing, frame.spacing, frame.shape)


def _brought(array: NDArray[np.float32], source: Grid, target: Grid, *, outside: float) -> NDArray[np.float32]:
    """Averaged to the target's voxels and interpolated linearly."""
    coarse = (np.abs(np.linalg.inv(source.affine[:3, :3])) @ target.spacing).clip(1.0)  # target voxel in source voxels, along i, j, k
    # A box of n voxels has the variance n^2 / 12; a Gaussian adds what the source's own voxels lack of it.
    sigma = np.sqrt((coarse**2 - 1) / 12)
    return resample(ndimage.gaussian_filter(array, sigma, mode="nearest"), source, target, order=1, outside=outside)


def _write(path: Path, data: dict[str, Any]) -> None:
    path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
