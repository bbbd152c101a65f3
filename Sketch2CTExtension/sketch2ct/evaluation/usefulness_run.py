"""`sketch2ct usefulness`: what the CTs of a bundle are worth for training, as usefulness.json and usefulness.md.

`usefulness.json`:

    command, seed, hardware, bundle (name, digest), data, seconds
    summary.<structure>     Dice on real scans after training on `real`, `synthetic` and `both`, `synthetic_to_real`, `both_to_real`;
                            `overall` likewise, each `{"mean", "ci95", "n"}` over patients
    summary.about           split and cases (tested), training_cases, samples (CTs of one label map), steps, seed, recipe, bundle (digest)
    records                 the Dice of every case
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from .. import bundle as bundles
from .. import devices, volumes
from ..data.nnunet import Dataset
from ..errors import BadRequest
from ..generation import VolumeGenerator
from ..modality import of
from ..results import writing
from . import ct_tables, stated
from .report import plain
from .usefulness import RESULT, measure_usefulness


def usefulness(
    bundle: str,
    data: Path,
    images: str,
    labels: str,
    out: Path,
    *,
    cases: int | None = None,
    steps: int = 1500,
    samples: int = 1,
    training: int | None = None,
    seed: int = 0,
    resume: bool = False,
    device: str = "auto",
    recipe: str = "segmenter",
    load_bundle: Callable[[str], bundles.Bundle] = bundles.load,
    load_volumes: Callable[[str, bundles.Bundle, torch.device], VolumeGenerator] = volumes.load,
) -> dict[str, Any]:
    """Measure the usefulness of a bundle's CTs on (the first `cases` of) a split, write the report to `out`, which also keeps what
    `resume` takes up again; the report. See `measure_usefulness`. Raises BadRequest, BundleMissing, BundleCorrupt or WriteFailed.
    """
    start, out = time.perf_counter(), Path(out)
    chosen, place, split = load_bundle(bundle), devices.choose(device), stated.split_of(images, labels)
    dataset = Dataset(Path(data))
    if dataset.modality != of(chosen.metadata):
        told = f"The bundle '{chosen.name}' makes {of(chosen.metadata).name}, and {data} holds {dataset.modality.name}."
        raise BadRequest(told, "Name a data set that fits.")
    tested = dataset.cases(split)[:cases]
    own = {"steps": steps, "samples": samples, "training": training, "recipe": recipe}
    with writing(out):
        records, summary = measure_usefulness(
            dataset,
            split,
            tested,
            chosen.metadata,
            load_volumes("sketch2ct", chosen, place),
            seed,
            out,
            **own,  # type: ignore[arg-type]
            resume=resume,
            device=device,
            maker=chosen.digest,
        )
    summary["about"] |= {"cases": len(tested), "recipe": Path(recipe).name, "bundle": chosen.digest}
    options = {"bundle": Path(bundle), "data": Path(data), "images": images, "labels": labels, "out": "OUT", "cases": cases}
    options |= own | {"recipe": Path(recipe) if recipe != "segmenter" else None, "seed": seed, "device": device}
    result = {
        "command": stated.command("usefulness", options),
        "seed": seed,
        "hardware": stated.hardware(place),
        "bundle": {"name": chosen.name, "digest": chosen.digest},
        "data": dataset.root.name,
        "seconds": round(time.perf_counter() - start, 1),
        "summary": summary,
        "records": plain(records),
    }
    with writing(out):
        (out / RESULT).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        (out / RESULT).with_suffix(".md").write_text(_markdown(result), encoding="utf-8")
    return result


def _markdown(result: dict[str, Any]) -> str:
    hardware = result["hardware"]
    lines = [
        f"# {result['bundle']['name']}: a segmenter trained on synthetic CTs, tested on real ones",
        "",
        f"`{result['command']}`",
        "",
        f"Bundle {result['bundle']['digest'][:16]}, seed {result['seed']}, data {result['data']}, {hardware['device']}, {hardware['cpus']} "
        f"cores, torch {hardware['torch']}; {result['seconds'] / 60:.1f} min. Dice, mean with 95 % bootstrap interval over patients.",
        "",
        *ct_tables.usefulness(result["summary"]),
    ]
    return "\n".join([*lines, ""])
