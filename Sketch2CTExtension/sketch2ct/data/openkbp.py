"""The public OpenKBP head-and-neck set (340 planning CTs as CSV) -> nnU-Net raw layout. No torch.

Source: a clone of github.com/ababier/open-kbp (Babier et al., Medical Physics 48:5549-5561, 2021), whose
`provided-data/{train,validation,test}-pats/pt_N` folders hold

    ct.csv                 rows `index,value`; value = HU + 1000; voxels that are not listed were not stored
    <Structure>.csv        rows `index,`: the voxels of a mask; no file or no rows means not contoured
    voxel_dimensions.csv   three numbers, mm

An index counts the voxels of a 128 x 128 x 128 array in C order whose axes run to posterior, left and inferior.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BadRequest, WriteFailed
from ..geometry import Grid
from ..imaging import write_nifti
from .nnunet import CT_CHANNEL

SHAPE = (128, 128, 128)
HU_OFFSET = 1000
STORED_MAX = 4095  # 12 bits
FOLDERS = {"train-pats": "Tr", "validation-pats": "Va", "test-pats": "Ts"}
STRUCTURES = {
    "Brainstem": "brainstem",
    "SpinalCord": "spinal_cord",
    "RightParotid": "parotid_gland_right",
    "LeftParotid": "parotid_gland_left",
    "Esophagus": "esophagus",
    "Larynx": "larynx",
    "Mandible": "mandible",
}
CLONE_HINT = "Clone https://github.com/ababier/open-kbp and name the clone's folder."


def convert(source: Path, dest: Path, progress: Callable[[int, int, str], None] | None = None) -> Path:
    """Convert a clone at `source` to a data set at `dest`; `progress(done, total, case)` after each case.

    CTs become int16 HU and label maps uint8, both with axes left, posterior, superior. `dataset.json` is written last:
    a folder with it is complete. Raises BadRequest for a missing or damaged file, or when `dest` already is a data set.
    """
    source, dest = Path(source), Path(dest)
    patients = _patients(source)
    if (dest / "dataset.json").exists():
        raise BadRequest(f"{dest} already holds a data set.", "Name another folder, or delete it first.")
    cases: dict[str, Any] = {}
    try:
        for number, (folder, split) in enumerate(patients, start=1):
            case = f"hn_{int(folder.name.removeprefix('pt_')):03d}"
            cases[case] = {"split": split, **_convert_patient(folder, dest, case, split)}
            if progress is not None:
                progress(number, len(patients), case)
        (dest / "dataset.json").write_text(json.dumps(_description(cases), indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise WriteFailed(f"Cannot write the data set to {dest}: {error}.", "Check space and permissions.") from error
    return dest


def _patients(source: Path) -> list[tuple[Path, str]]:
    """(folder, split) of every patient, by number."""
    root = source / "provided-data" if (source / "provided-data").is_dir() else source
    found = []
    for name, split in FOLDERS.items():
        numbered = [p for p in (root / name).glob("pt_*") if p.name.removeprefix("pt_").isdigit()]
        found += [(p, split) for p in sorted(numbered, key=lambda p: int(p.name.removeprefix("pt_")))]
    if not found:
        raise BadRequest(f"{source} holds no OpenKBP patients (provided-data/train-pats/pt_1 and so on).", CLONE_HINT)
    return found


def _convert_patient(folder: Path, dest: Path, case: str, split: str) -> dict[str, Any]:
    grid = _grid(folder / "voxel_dimensions.csv")
    index, value = _sparse(folder / "ct.csv")
    stored = np.zeros(np.prod(SHAPE), np.float64)
    stored[index] = value
    hu = (np.clip(np.round(stored), 0, STORED_MAX) - HU_OFFSET).astype(np.int16)
    labels = np.zeros(np.prod(SHAPE), np.uint8)
    contoured = []
    for number, (name, structure) in enumerate(STRUCTURES.items(), start=1):
        path = folder / f"{name}.csv"
        voxels = _rows(path)[:, 0].astype(np.int64) if path.is_file() else np.zeros(0, np.int64)
        if len(voxels):
            labels[_checked(voxels, path)] = number
            contoured.append(structure)
    for kind in ("images", "labels"):
        (dest / f"{kind}{split}").mkdir(parents=True, exist_ok=True)
    write_nifti(dest / f"images{split}" / f"{case}{CT_CHANNEL}.nii.gz", to_lps(hu), grid)
    write_nifti(dest / f"labels{split}" / f"{case}.nii.gz", to_lps(labels), grid)
    return {"spacing_mm": [round(float(s), 3) for s in grid.spacing], "labelled": contoured}


def to_lps(flat: NDArray) -> NDArray:
    """The flat array of a CSV file -> (i, j, k) with axes left, posterior, superior."""
    return np.ascontiguousarray(flat.reshape(SHAPE).transpose(1, 0, 2)[:, :, ::-1])


def _grid(path: Path) -> Grid:
    spacing = _rows(path, header=0).ravel()
    if spacing.shape != (3,) or not (spacing > 0).all():
        raise BadRequest(f"{path} must hold three voxel sizes in mm.", CLONE_HINT)
    return Grid(SHAPE, np.diag([-spacing[1], -spacing[0], spacing[2], 1.0]))


def _sparse(path: Path) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    rows = _rows(path, columns=2)
    return _checked(rows[:, 0].astype(np.int64), path), rows[:, 1]


def _checked(index: NDArray[np.int64], path: Path) -> NDArray[np.int64]:
    if len(index) and (index.min() < 0 or index.max() >= np.prod(SHAPE)):
        raise BadRequest(f"{path} names a voxel outside the {'x'.join(map(str, SHAPE))} array.", CLONE_HINT)
    return index


def _rows(path: Path, *, header: int = 1, columns: int = 1) -> NDArray[np.float64]:
    """The first `columns` columns (N, columns) of a CSV file."""
    if not path.is_file():
        raise BadRequest(f"The OpenKBP clone lacks {path}.", CLONE_HINT)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a file without rows means "not contoured"
            rows = np.loadtxt(path, delimiter=",", skiprows=header, usecols=tuple(range(columns)), ndmin=2)
    except ValueError as error:
        raise BadRequest(f"{path} is damaged: {error}.", CLONE_HINT) from error
    return rows.reshape(-1, columns)


def _description(cases: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": "OpenKBP head and neck",
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, **{name: n for n, name in enumerate(STRUCTURES.values(), start=1)}},
        "file_ending": ".nii.gz",
        "numTraining": sum(entry["split"] == "Tr" for entry in cases.values()),
        "cases": cases,
    }
