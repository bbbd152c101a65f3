"""nnU-Net v2 raw data sets: OUT is an `nnUNet_raw` folder.

DatasetNNN_NAME/imagesTr/<case>_0000.nii.gz   CT, int16 HU
                labelsTr/<case>.nii.gz        uint8, 0 background, 1 .. N in the order of dataset.json
                dataset.json                  nnU-Net's keys, and ours beside: synthetic, licence, bundle_hash, `cases` (split, labelled)
                splits_final.json             folds that keep groups together; belongs into nnUNet_preprocessed/DatasetNNN_NAME
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..data.nnunet import CT_CHANNEL
from ..errors import BadRequest
from ..results import write_image
from .case import ExportCase, relabelled
from .model import Model
from .options import MAX_DATASET_ID, Options
from .parts import Part, parts
from .selection import Step
from .writing import Written, write_json

SPLITS = "splits_final.json"
_MIXED = (
    "The cases have different structures. A structure that was not asked for is in the CT without a label, and is no background, so each "
    "set of structures is a data set of its own. To train one structure on all cases that have it, export with --structures NAME."
)


def write(folder: Path, cases: Sequence[ExportCase], options: Options, model: Model, step: Step) -> Written:
    """One data set for each set of structures. Raises BadRequest when there are more of them than numbers left."""
    found = parts(cases, options)
    last = options.dataset_id + len(found) - 1
    if last > MAX_DATASET_ID:
        raise BadRequest(f"{len(found)} data sets from {options.dataset_id} on need numbers up to {last}.", "Give a lower --dataset-id.")
    written = Written([], ["export nnUNet_raw=OUT nnUNet_preprocessed=... nnUNet_results=..."], [_MIXED] if len(found) > 1 else [])
    for number, part in enumerate(found, start=options.dataset_id):
        name = f"Dataset{number:03d}_{options.name}" + (f"_{part.slug}" if len(found) > 1 else "")
        _write_part(folder / name, part, options, model, step)
        written.parts.append({"folder": name, "structures": part.values, "cases": len(part.cases), "folds": part.folds})
        written.usage += _usage(number, name, part)
    return written


def _write_part(folder: Path, part: Part, options: Options, model: Model, step: Step) -> None:
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    entries: dict[str, Any] = {}
    for one in part.cases:
        labels, ct = one.square_images()
        write_image(folder / "imagesTr" / f"{one.key}{CT_CHANNEL}.nii.gz", ct.array, ct.grid)
        write_image(folder / "labelsTr" / f"{one.key}.nii.gz", relabelled(labels, part.structures), ct.grid)
        spacing = [round(float(mm), 6) for mm in ct.grid.spacing]
        entries[one.key] = {"split": "Tr", "spacing_mm": spacing, "labelled": list(part.structures), "group": one.case.group}
        step(one.case.name)
    own = {"channel_names": {"0": model.modality.name}, "labels": {"background": 0, **part.values}, "numTraining": len(part.cases)}
    about = {"name": options.name, "description": "Synthetic; see DATA_CARD.md.", "licence": model.licence, "synthetic": True}
    made = {"bundle": model.bundle, "bundle_hash": model.hash, "cases": entries}
    write_json(folder / "dataset.json", own | {"file_ending": ".nii.gz"} | about | made)
    if part.folds > 1:
        write_json(folder / SPLITS, part.splits())


def _usage(number: int, name: str, part: Part) -> list[str]:
    prepare = f"nnUNetv2_plan_and_preprocess -d {number} --verify_dataset_integrity"
    if part.folds < 2:
        return [prepare, f"nnUNetv2_train {number} 3d_fullres all    # all cases come from one request: they cannot be split"]
    copy = f"cp OUT/{name}/{SPLITS} $nnUNet_preprocessed/{name}/    # else nnU-Net splits at random, through groups"
    return [prepare, copy, f"nnUNetv2_train {number} 3d_fullres 0    # to {part.folds - 1}"]
