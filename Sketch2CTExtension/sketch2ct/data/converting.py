"""What the converters of public sets with one structure share: the split, coarser voxels, and the nnU-Net layout they write. No torch.

`dataset.json` records what was decided here: modality, licence of the data, the seed of the split, and the case's own facts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from skimage.measure import block_reduce

from ..errors import BadRequest, WriteFailed
from ..geometry import Grid
from ..imaging import write_nifti
from ..modality import Modality, normalised_mr
from .nnunet import CT_CHANNEL

TEST_SHARE = 0.2  # the published split is 8:2
SPACING_MM = 1.5  # twice as fine as the 128^3 grids of the published experiments; full slices need hours and tens of GB
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class About:
    """What a data set is: `licence` and `source` go to `dataset.json`, `structure` is the one label."""

    name: str
    modality: Modality
    structure: str
    licence: str
    source: str


@dataclass
class Scan:
    """One case as read: `image` and `mask` (i, j, k) on `grid`; `facts` are recorded with the case."""

    image: NDArray
    mask: NDArray[np.bool_]
    grid: Grid
    facts: dict[str, Any] = field(default_factory=dict)


def write_set(
    dest: Path,
    about: About,
    cases: Mapping[str, Callable[[], Scan]],
    *,
    seed: int = 0,
    spacing: float = SPACING_MM,
    progress: Progress | None = None,
) -> Path:
    """Write a data set at `dest` from the readers of its cases; `progress(done, total, case)` after each.

    Voxels much finer than `spacing` (mm) are averaged, 0 keeps them. A CT becomes int16 HU, an MR normalised intensities.
    `dataset.json` is written last: a folder with it is complete. Raises BadRequest when `dest` already is a data set or there are
    too few cases, and WriteFailed.
    """
    dest = Path(dest)
    if (dest / "dataset.json").exists():
        raise BadRequest(f"{dest} already holds a data set.", "Name another folder, or delete it first.")
    splits = split_cases(list(cases), seed, about.name)
    entries: dict[str, Any] = {}
    try:
        for number, (case, read) in enumerate(sorted(cases.items()), start=1):
            scan = coarser(read(), spacing)
            entries[case] = {"split": splits[case], **_write_case(dest, case, splits[case], scan, about)}
            if progress is not None:
                progress(number, len(cases), case)
        (dest / "dataset.json").write_text(json.dumps(_description(about, entries, seed, spacing), indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise WriteFailed(f"Cannot write the data set to {dest}: {error}.", "Check space and permissions.") from error
    return dest


def split_cases(cases: list[str], seed: int, name: str) -> dict[str, str]:
    """Case -> `Tr` or `Ts`: a shuffle seeded by `seed` and the set's name, of which a fifth (rounded, at least one) is for tests.

    20, 56 and 131 cases give 4, 11 and 26 test cases. Raises BadRequest for fewer than two cases.
    """
    if len(cases) < 2:
        raise BadRequest(f"There are {len(cases)} cases; a split needs two or more.", "Name the folder of the whole data set.")
    rng = np.random.default_rng(np.random.SeedSequence([seed, crc32(name.encode())]))
    shuffled = [sorted(cases)[n] for n in rng.permutation(len(cases))]
    tests = set(shuffled[: max(1, round(TEST_SHARE * len(cases)))])
    return {case: "Ts" if case in tests else "Tr" for case in sorted(cases)}


def coarser(scan: Scan, spacing: float) -> Scan:
    """The scan with whole blocks of voxels averaged, so that its voxels are about `spacing` mm wide where they were finer.

    A voxel of the mask is one that it fills by half or more.
    """
    blocks = np.maximum(1, np.round(spacing / scan.grid.spacing)).astype(int) if spacing > 0 else np.ones(3, int)
    if (blocks == 1).all():
        return scan
    rest = [(0, int(-n % b)) for n, b in zip(scan.image.shape, blocks, strict=True)]
    parts = tuple(int(b) for b in blocks)
    image = block_reduce(np.pad(np.asarray(scan.image, np.float32), rest, mode="edge"), parts, np.mean)
    mask = block_reduce(np.pad(scan.mask, rest), parts, np.mean) >= 0.5
    affine = scan.grid.affine.copy()
    affine[:3, :3] = affine[:3, :3] * blocks
    affine[:3, 3] = scan.grid.to_ras((blocks - 1) / 2)
    return Scan(image, mask, Grid((image.shape[0], image.shape[1], image.shape[2]), affine), scan.facts)


def _write_case(dest: Path, case: str, split: str, scan: Scan, about: About) -> dict[str, Any]:
    kind = about.modality
    if kind.name == "MR":
        try:
            values = normalised_mr(scan.image)
        except ValueError as error:
            raise BadRequest(f"Case {case}: {error}.", "The image is damaged.") from error
    else:
        values = np.clip(np.round(scan.image), kind.low, kind.high).astype(np.int16)
    for part in ("images", "labels"):
        (dest / f"{part}{split}").mkdir(parents=True, exist_ok=True)
    write_nifti(dest / f"images{split}" / f"{case}{CT_CHANNEL}.nii.gz", values, scan.grid)
    write_nifti(dest / f"labels{split}" / f"{case}.nii.gz", scan.mask.astype(np.uint8), scan.grid)
    labelled = [about.structure] if scan.mask.any() else []
    return {"spacing_mm": [round(float(s), 3) for s in scan.grid.spacing], "labelled": labelled, **scan.facts}


def _description(about: About, cases: dict[str, Any], seed: int, spacing: float) -> dict[str, Any]:
    return {
        "name": about.name,
        "modality": about.modality.name,
        "channel_names": {"0": "CT" if about.modality.name == "CT" else "MRI"},
        "labels": {"background": 0, about.structure: 1},
        "file_ending": ".nii.gz",
        "numTraining": sum(entry["split"] == "Tr" for entry in cases.values()),
        "licence": about.licence,
        "source": about.source,
        "split": {"seed": seed, "test_share": TEST_SHARE},
        "averaged_to_mm": spacing,
        "cases": cases,
    }
