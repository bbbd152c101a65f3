"""The layout of TotalSegmentator's published data set.

<case>/ct.nii.gz, segmentations/<structure>.nii.gz   uint8 0 and 1; no file: not labelled in this case (which is not: absent)
meta.csv                                             image_id;split;... separated by semicolons, split train or val, groups together
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from ..errors import BadRequest
from ..modality import CT
from ..results import write_image
from .case import ExportCase
from .model import Model
from .options import Options
from .parts import assigned
from .selection import Step
from .writing import Written

# TotalSegmentator's names where they differ from the vocabulary's; its list is in the class tables of its package.
NAMES = {"left_atrium": "heart_atrium_left"}
COLUMNS: tuple[str, ...] = (
    "image_id",
    "age",
    "gender",
    "institute",
    "study_type",
    "split",
    "manufacturer",
    "scanner_model",
    "kvp",
    "pathology",
)
COLUMNS += ("synthetic", "group", "labelled", "source")
_NOTE = (
    "TotalSegmentator writes an empty mask for what a scan lacks. Here a missing file means that the structure was not labelled: "
    "the CT may show it. Take only the structures in the column 'labelled' of meta.csv as known."
)


def write(folder: Path, cases: Sequence[ExportCase], options: Options, model: Model, step: Step) -> Written:
    """One folder a case, and the table. Raises BadRequest for MR."""
    if model.modality is not CT:
        raise BadRequest(f"These images are {model.modality.name}, and this layout is for CT.", "Export to nnunet or monai.")
    groups = [one.case.group for one in cases]
    folds = min(options.folds, len(set(groups)))
    rows = []
    for one, fold in zip(cases, assigned(groups, folds, options.seed), strict=True):
        labels, ct = one.square_images()
        (folder / one.key / "segmentations").mkdir(parents=True)
        write_image(folder / one.key / "ct.nii.gz", ct.array, ct.grid)
        for name in one.structures:
            mask = labels.mask(name).astype("uint8")
            write_image(folder / one.key / "segmentations" / f"{NAMES.get(name, name)}.nii.gz", mask, ct.grid)
        split = "val" if fold == 0 and folds > 1 else "train"
        rows.append(_row(one, split, model))
        step(one.case.name)
    with (folder / "meta.csv").open("w", encoding="utf-8", newline="") as stream:
        table = csv.DictWriter(stream, COLUMNS, delimiter=";", restval="", lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    counts = {split: sum(row["split"] == split for row in rows) for split in ("train", "val")}
    return Written(
        [{"folder": ".", "cases": len(cases), "folds": folds, "split": counts}], ['pandas.read_csv("OUT/meta.csv", sep=";")'], [_NOTE]
    )


def _row(one: ExportCase, split: str, model: Model) -> dict[str, str]:
    labelled = ",".join(NAMES.get(name, name) for name in one.structures)
    made = {"manufacturer": "Sketch2CT", "scanner_model": model.bundle, "study_type": "synthetic", "synthetic": "true"}
    return {"image_id": one.key, "split": split, "group": one.case.group, "labelled": labelled, "source": one.source, **made}
