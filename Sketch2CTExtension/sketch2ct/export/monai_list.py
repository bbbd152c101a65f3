"""A data list in the form of the Medical Segmentation Decathlon, as `monai.data.load_decathlon_datalist` reads it.

[SET/]imagesTr/<case>.nii.gz, labelsTr/<case>.nii.gz
      dataset.json          `training` and `validation` (fold 0): image and label, relative to the file
      dataset_folds.json    `training` holds all cases, each with its `fold`, as MONAI's Auto3DSeg wants it

A folder SET for each set of structures, where cases differ in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..results import write_image
from .case import ExportCase, relabelled
from .model import Model
from .options import Options
from .parts import Part, parts
from .selection import Step
from .writing import Written, write_json

LIST, FOLDS = "dataset.json", "dataset_folds.json"
_MIXED = "The cases have different structures. What was not asked for is no background, so each set of structures is a list of its own."


def write(folder: Path, cases: Sequence[ExportCase], options: Options, model: Model, step: Step) -> Written:
    """One list for each set of structures."""
    found = parts(cases, options)
    written = Written([], ["from monai.data import load_decathlon_datalist"], [_MIXED] if len(found) > 1 else [])
    for part in found:
        where = part.slug if len(found) > 1 else "."
        _write_part(folder / where, part, options, model, step)
        written.parts.append({"folder": where, "structures": part.values, "cases": len(part.cases), "folds": part.folds})
        file = LIST if where == "." else f"{where}/{LIST}"
        written.usage.append(f'load_decathlon_datalist("OUT/{file}", is_segmentation=True, data_list_key="training")    # or "validation"')
    return written


def _write_part(folder: Path, part: Part, options: Options, model: Model, step: Step) -> None:
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    items: list[dict[str, Any]] = []
    for one, fold in zip(part.cases, part.fold, strict=True):
        labels, ct = one.images()  # MONAI reads any affine
        item = {"image": f"./imagesTr/{one.key}.nii.gz", "label": f"./labelsTr/{one.key}.nii.gz"}
        write_image(folder / item["image"], ct.array, ct.grid)
        write_image(folder / item["label"], relabelled(labels, part.structures), ct.grid)
        items.append({**item, "fold": fold, "group": one.case.group})
        step(one.case.name)
    head = {"name": options.name, "description": "Synthetic; see DATA_CARD.md.", "licence": model.licence, "synthetic": True}
    head |= {"bundle": model.bundle, "bundle_hash": model.hash, "modality": {"0": model.modality.name}, "tensorImageSize": "3D"}
    head |= {"labels": {"0": "background", **{str(value): name for name, value in part.values.items()}}}
    training = [item for item in items if item["fold"] != 0 or part.folds == 1]
    validation = [item for item in items if item["fold"] == 0 and part.folds > 1]
    counts = {"numTraining": len(training), "numValidation": len(validation)}
    write_json(folder / LIST, {**head, **counts, "training": training, "validation": validation})
    write_json(folder / FOLDS, {**head, "numTraining": len(items), "training": items})
