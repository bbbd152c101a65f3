"""Tasks of the Medical Segmentation Decathlon (Task02_Heart: MR, Task03_Liver: CT) -> this package's nnU-Net layout. No torch.

Source: the folder of an unpacked task (Antonelli et al., Nature Communications 13:4128, 2022):

    dataset.json    modality {"0": "MRI"}, labels {"1": "left atrium"}, training [{"image": "./imagesTr/la_003.nii.gz", "label": ...}]
    imagesTr, labelsTr    the cases with labels, which are split here; imagesTs has none and is not used

Files that an archiver left beside them (._la_003.nii.gz) are not listed and so not read. A tumour in the liver is liver.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import BadRequest
from ..imaging import read_image
from ..modality import CT, MR, named
from .converting import SPACING_MM, About, Progress, Scan, write_set

_LICENCE = "CC BY-SA 4.0; what is trained on it is best passed on under the same terms"
_SOURCE = "Medical Segmentation Decathlon, medicaldecathlon.com; Antonelli et al., Nature Communications 13:4128 (2022)"
LIVER = About("MSD Task03 liver", CT, "liver", _LICENCE, _SOURCE)
HEART = About("MSD Task02 heart", MR, "left_atrium", _LICENCE, _SOURCE)
# the published names of the labels that make up the structure
TASKS = ((LIVER, ("liver", "cancer")), (HEART, ("left atrium",)))
HINT = "Unpack Task02_Heart.tar or Task03_Liver.tar and name the folder of the task."


def convert(source: Path, dest: Path, *, seed: int = 0, spacing: float = SPACING_MM, progress: Progress | None = None) -> Path:
    """Convert the task at `source` to a data set at `dest`. Raises BadRequest or WriteFailed; see `write_set`."""
    source = Path(source)
    data = _described(source)
    about, values = _task(data, source)
    pairs = data.get("training")
    if not isinstance(pairs, list) or not all(isinstance(p, dict) and {"image", "label"} <= p.keys() for p in pairs):
        raise BadRequest(f"{source / 'dataset.json'} lists no training cases with image and label.", HINT)
    cases = {Path(p["label"]).name.removesuffix(".nii.gz"): partial(_read, source, p, values) for p in pairs}
    return write_set(dest, about, cases, seed=seed, spacing=spacing, progress=progress)


def _described(source: Path) -> dict[str, Any]:
    file = source / "dataset.json"
    if not file.is_file():
        raise BadRequest(f"{source} is no task: it has no dataset.json.", HINT)
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadRequest(f"{file} is not valid JSON: {error}.", HINT) from error
    if not isinstance(data, dict):
        raise BadRequest(f"{file} must hold a JSON object.", HINT)
    return data


def _task(data: dict[str, Any], source: Path) -> tuple[About, list[int]]:
    """Which task it is, by its labels, and the values of its structure."""
    labels = data.get("labels") if isinstance(data.get("labels"), dict) else {}
    table = {str(name).lower(): int(value) for value, name in (labels or {}).items() if str(value).isdigit()}
    for about, names in TASKS:
        if names[0] in table:
            first = (data.get("modality") or {}).get("0", about.modality.name)
            if named(first) != about.modality:
                raise BadRequest(f"{source} holds {first}, and {about.name} is {about.modality.name}.", HINT)
            return about, [table[name] for name in names if name in table]
    known = ", ".join(about.name for about, _ in TASKS)
    raise BadRequest(f"{source} holds the labels {', '.join(table) or 'none'}.", f"These tasks can be converted: {known}.")


def _read(source: Path, pair: dict[str, str], values: list[int]) -> Scan:
    image, grid = read_image(source / pair["image"])
    labels, own = read_image(source / pair["label"])
    if not own.matches(grid):
        raise BadRequest(f"{pair['image']} and {pair['label']} are on different grids.", HINT)
    if not np.isfinite(image).all():
        raise BadRequest(f"{pair['image']} holds values that are not numbers.", HINT)
    return Scan(image, np.isin(np.round(labels), values), grid, {"source": pair["label"].removeprefix("./")})
