"""What synthetic CTs are worth for training: a segmenter trained on synthetic, on real, and on both, tested on real scans.

The synthetic scans are made from the label maps of the training cases, so all three see the same contours; each is trained for the
same number of steps, from the same start, with the same crops' randomness.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import devices
from ..data.cache import load_scans, save_scan
from ..data.nnunet import Dataset
from ..data.scans import Scan, build_scans
from ..errors import BadRequest
from ..generation import Progress, VolumeGenerator
from ..imaging import LabelVolume
from . import metrics
from .case import torch_rng
from .paired import ratio
from .segmenter import SETTINGS, Segmenter

KINDS = ("real", "synthetic", "both")
RESULT = "usefulness.json"


def synthetic(scan: Scan, structures: tuple[str, ...], generator: VolumeGenerator, seed: int, sample: int) -> Scan:
    """The scan with a generated CT in the place of its own, made from its contoured structures on its own grid."""
    array = np.zeros(scan.hu.shape, np.uint8)
    for n in np.flatnonzero(scan.labelled[: len(structures)]):
        array[scan.labels[n] > 127] = n + 1
    labels = LabelVolume(array, scan.grid, dict(enumerate(structures, start=1)))
    with torch.no_grad():
        made = generator.generate(labels, "", torch_rng(seed, scan.case, "ct", f"use {sample}"), Progress())
    return replace(scan, case=f"{scan.case}-{sample}", hu=made.array)


def measure_usefulness(
    dataset: Dataset,
    split: str,
    cases: list[str],
    metadata: dict[str, Any],
    generator: VolumeGenerator,
    seed: int,
    out: Path,
    *,
    steps: int = 1500,
    samples: int = 1,
    training: int | None = None,
    recipe: str = "segmenter",
    resume: bool = False,
    device: str = "auto",
    maker: str = "",
    say: Callable[[str], None] = lambda text: print(text, file=sys.stderr, flush=True),
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Train on real, synthetic and both, and test on real `cases` of a split; the Dice of each case, and the summary.

    `samples` CTs are made of each label map of the training cases (the first `training` of them, or all); `maker` names what makes
    them (a bundle's digest): with `resume`, CTs and segmenters of the same maker and settings are taken from `out`, whatever is
    unfinished goes on. Raises BadRequest.
    """
    from ..training.segmenter_stage import fit_segmenter, scan_dice, segmenter_settings

    settings = segmenter_settings(recipe, metadata, steps=steps, seed=seed)
    if split == settings["train"]:
        raise BadRequest(f"The segmenters are trained on {split}, so they cannot be tested on it.", "Name another split.")
    if samples < 1 or steps < 1:
        raise BadRequest(f"{samples} samples and {steps} steps make no training.", "Give 1 or more of both.")
    structures, spacing = tuple(settings["structures"]), tuple(settings["spacing"])
    out = Path(out)
    names = dataset.cases(settings["train"])[:training]
    say(f"Usefulness: preparing {len(names)} training and {len(cases)} test scans")
    real = _kept(out / "scans-real", {"cases": names, "spacing": spacing}, resume, lambda: build_scans(dataset, names, structures, spacing))
    key = {"cases": names, "spacing": spacing, "seed": seed, "samples": samples, "maker": maker}
    say(f"Usefulness: making {samples * len(real)} synthetic CTs")

    def make() -> list[Scan]:
        return [synthetic(scan, structures, generator, seed, n) for scan in real for n in range(samples)]

    made = _kept(out / "scans-synthetic", key, resume, make)
    tests = build_scans(dataset, cases, structures, spacing)
    found: dict[str, list[dict[str, float]]] = {}
    for kind, scans in zip(KINDS, (real, made, real + made), strict=True):
        folder = out / kind
        about = {"kind": kind, "cases": len(names), "scans": len(scans), "budget": steps, "recipe": Path(recipe).name, **key}
        if not (resume and _trained(folder, about)):
            say(f"Usefulness: {steps} steps on {kind} ({len(scans)} scans)")
            fit_segmenter(scans, [], settings, folder, about, resume=_begun(folder, about, resume), device=device)
        judge = Segmenter.load(folder, devices.choose(device))
        found[kind] = [scan_dice(judge, scan) for scan in tests]
    records = [{"case": scan.case, **{kind: found[kind][n] for kind in KINDS}} for n, scan in enumerate(tests)]
    about = {"split": split, "training_cases": len(names), "samples": samples, "steps": steps, "seed": seed}
    return records, {**summarise(records, seed), "about": about}


def read_usefulness(folder: Path, digest: str) -> dict[str, Any]:
    """The summary of an earlier measurement (see `usefulness_run`) of the bundle with that digest, with its `command` in `about`.

    Raises BadRequest.
    """
    path = Path(folder) / RESULT
    again = "Measure it with 'sketch2ct usefulness'."
    if not path.is_file():
        raise BadRequest(f"{folder} holds no measured usefulness ({RESULT}).", again)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        summary, maker, command = found["summary"], str(found["bundle"]["digest"]), str(found["command"])
        if not summary["about"] or not summary["overall"]:
            raise ValueError("nothing was measured")
    except (ValueError, KeyError, TypeError) as error:
        raise BadRequest(f"{path} cannot be read: {error!r}.", again) from error
    if maker != digest:
        raise BadRequest(f"{path} is about the bundle {maker[:16]}, and this one is {digest[:16]}.", again)
    return {**summary, "about": {**summary["about"], "command": command}}


def _kept(folder: Path, key: dict[str, Any], resume: bool, make: Callable[[], list[Scan]]) -> list[Scan]:
    """Scans from a folder that was made with the same key, else made now and kept."""
    mark, text = folder / "made.json", json.dumps(key)
    if resume and mark.is_file() and mark.read_text(encoding="utf-8") == text:
        return load_scans(folder)
    folder.mkdir(parents=True, exist_ok=True)
    mark.unlink(missing_ok=True)
    for old in folder.glob("*.npz"):
        old.unlink()
    for scan in make():
        save_scan(folder, scan)
    mark.write_text(text, encoding="utf-8")
    return load_scans(folder)  # by name, whether made or kept


def _begun(folder: Path, about: dict[str, Any], resume: bool) -> bool:
    """Whether a checkpoint of just this training is to be taken up again; notes what is begun."""
    mark, text = folder / "begun.json", json.dumps(about)
    same = resume and mark.is_file() and mark.read_text(encoding="utf-8") == text
    folder.mkdir(parents=True, exist_ok=True)
    mark.write_text(text, encoding="utf-8")
    return same


def _trained(folder: Path, about: dict[str, Any]) -> bool:
    """Whether a folder holds a segmenter that was trained on just this."""
    path = folder / SETTINGS
    if not path.is_file():
        return False
    trained = json.loads(path.read_text(encoding="utf-8")).get("trained", {})
    return json.loads(json.dumps(about)).items() <= trained.items()


def summarise(records: list[dict[str, Any]], seed: int) -> dict[str, Any]:
    """By structure and `overall`: Dice on real scans after training on `real`, `synthetic` and `both`, and the ratios to `real`."""
    names = list(dict.fromkeys(name for record in records for name in record["real"]))
    if not names:
        return {}
    table = {kind: np.array([[record[kind].get(name, np.nan) for name in names] for record in records]) for kind in KINDS}
    result = {}
    for n, name in enumerate([*names, "overall"]):
        own = {kind: values if name == "overall" else values[:, [n]] for kind, values in table.items()}
        result[name] = {kind: metrics.mean_of_means(values, seed) for kind, values in own.items()}
        for kind in ("synthetic", "both"):
            result[name][f"{kind}_to_real"] = ratio(own[kind], own["real"], seed)
    return result
