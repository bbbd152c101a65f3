"""CHAOS, the CT part (liver of 20 healthy donors, portal phase) -> nnU-Net raw layout. No torch.

Source: `CHAOS_Train_Sets.zip` (Kavur et al., Medical Image Analysis 69:101950, 2021), unpacked:

    Train_Sets/CT/<patient>/DICOM_anon/*.dcm    one axial slice a file: i0000,0000b.dcm ... or IMG-0002-00001.dcm ...
    Train_Sets/CT/<patient>/Ground/*.png        liver_GT_000.png ...: its liver, above zero, with the slice's rows and columns

Slices and masks belong together in the order of the numbers in their names: both series of names are consecutive, but one of the
DICOM's counts from 1 and the masks' from 0.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from skimage import io

from ..errors import BadRequest
from ..modality import CT
from .converting import SPACING_MM, About, Progress, Scan, write_set
from .dicom import by_number, read_slices

ABOUT = About(
    name="CHAOS CT",
    modality=CT,
    structure="liver",
    licence="CC BY-NC-SA 4.0: no commercial use; what is trained on it is under the same terms",
    source="CHAOS challenge, chaos.grand-challenge.org; Kavur et al., Medical Image Analysis 69:101950 (2021)",
)
PADDING_HU = 4000  # abdominal CT of donors without metal ends far below; larger numbers are padding in unsigned pixels
HINT = "Unpack CHAOS_Train_Sets.zip and name the folder that holds Train_Sets."


def convert(source: Path, dest: Path, *, seed: int = 0, spacing: float = SPACING_MM, progress: Progress | None = None) -> Path:
    """Convert the training sets at `source` to a data set at `dest`. Raises BadRequest or WriteFailed; see `write_set`."""
    folders = _patients(Path(source))
    cases = {f"chaos_{int(folder.name):02d}": partial(_read, folder) for folder in folders}
    return write_set(dest, ABOUT, cases, seed=seed, spacing=spacing, progress=progress)


def _patients(source: Path) -> list[Path]:
    """The patients' folders; `source` may be any folder from the unpacked archive's down to `CT`."""
    for root in (source / "CHAOS_Train_Sets" / "Train_Sets" / "CT", source / "Train_Sets" / "CT", source / "CT", source):
        found = [p for p in root.glob("*") if p.name.isdigit() and (p / "DICOM_anon").is_dir()]
        if found:
            return sorted(found, key=lambda p: int(p.name))
    raise BadRequest(f"{source} holds no CHAOS CT patients (Train_Sets/CT/1/DICOM_anon and so on).", HINT)


def _read(folder: Path) -> Scan:
    slices = sorted((folder / "DICOM_anon").glob("*.dcm"), key=by_number)
    masks = sorted((folder / "Ground").glob("*.png"), key=by_number)
    if len(slices) < 2 or len(slices) != len(masks):
        raise BadRequest(f"{folder} holds {len(slices)} DICOM slices and {len(masks)} masks; there must be one mask a slice.", HINT)
    hu, grid, order = read_slices(slices)
    hu[hu >= PADDING_HU] = CT.low
    drawn = [_mask(masks[n]) for n in order]
    wrong = next((masks[n] for n, part in zip(order, drawn, strict=True) if part.shape != hu.shape[1::-1]), None)
    if wrong is not None:
        raise BadRequest(f"{wrong} differs in size from the slices.", HINT)
    return Scan(hu, np.stack(drawn, axis=-1).transpose(1, 0, 2), grid, {"source": f"CT/{folder.name}"})


def _mask(path: Path) -> np.ndarray:
    try:
        picture = np.asarray(io.imread(path))
    except Exception as error:  # the reader raises anything for a damaged file
        raise BadRequest(f"Cannot read {path}: {type(error).__name__}: {error}.", "The file is damaged.") from error
    return (picture if picture.ndim == 2 else picture[..., 0]) > 0
