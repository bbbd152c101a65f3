"""Measure a bundle on cases it has not seen: masks against truth and baselines, probes of the text, CTs, one report."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import bundle as bundles
from .. import devices, masks, volumes
from ..data.nnunet import Dataset
from ..describe import Ranges
from ..errors import BadRequest, BundleCorrupt
from ..generation import MaskGenerator, VolumeGenerator
from ..geometry import Grid
from ..results import writing
from . import ct, figures, mask_parts, obedience, parts, report
from .case import MaskRecord
from .mask_parts import Measured, Run, say

DRAWS = 10  # of each probe and structure; fewer for a quick look at few cases
SHEETS = 3  # CTs that are drawn


def evaluate(
    bundle: str,
    data: Path,
    images: str,
    labels: str,
    out: Path,
    cases: int | None = None,
    device: str = "auto",
    seed: int = 0,
    samples: int = 1,
    hand: float = 0.0,
    *,
    only: str | None = None,
    ct_cases: int | None = None,
    draws: int | None = None,
    load_bundle: Callable[[str], bundles.Bundle] = bundles.load,
    load_masks: Callable[[str, bundles.Bundle, torch.device], MaskGenerator] = masks.load,
    load_volumes: Callable[[str, bundles.Bundle, torch.device], VolumeGenerator] = volumes.load,
) -> dict[str, Any]:
    """Evaluate `bundle` on the cases of a split, write `report.json`, `report.md` and `figures/` to `out`; the report.

    `images` and `labels` name the split's folders in `data` (imagesTs, labelsTs); baselines are fitted on labelsTr. `only` names
    the parts, with commas (see `parts`). `cases` takes the first so many only, `ct_cases` the same for the CTs, 0 for none; `samples`
    masks are made for each sketch, which is the exact outline or, with `hand`, wavers as `sketching.hand` does; `draws` of each
    probe and structure. Raises BadRequest, BundleMissing, BundleCorrupt or WriteFailed.
    """
    start = time.perf_counter()
    wanted = parts.chosen(only)
    chosen = load_bundle(bundle)
    run = _prepare(chosen, Dataset(Path(data)), images, labels, cases, seed, Path(out), hand, wanted)
    place = devices.choose(device)
    with writing(run.out):
        (run.out / "figures").mkdir(parents=True, exist_ok=True)
    count = draws if draws is not None else (DRAWS if cases is None else min(DRAWS, max(2, cases)))
    made, ct_records = Measured(), []
    if set(wanted) - {"ct"}:
        made = mask_parts.measure(run, load_masks("sketch2ct", chosen, place), samples, count)
    if "ct" in wanted and ct_cases != 0:
        with run.part("ct"):
            ct_records = _cts(run, load_volumes("sketch2ct", chosen, place), ct_cases)
    options = {"bundle": Path(bundle).name, "data": Path(data).name, "images": images, "labels": labels, "out": "OUT", "seed": seed}
    options |= {"device": device, "cases": cases, "samples": samples if samples != 1 else None, "parts": only}
    options |= {"hand": f"{hand:g}" if hand else None}
    result = {
        **_figures(run, made, ct_records),
        "seconds": _seconds(run, made.records, ct_records, start),
        "hardware": {"device": devices.label(place), "cpus": os.cpu_count(), "torch": torch.__version__},
        "seed": seed,
        "samples": samples,
        "hand": hand,
        "parts": list(wanted),
        "command": _command(options),
        "bundle": {"name": chosen.name, "digest": chosen.digest},
        "figures": _pictures(run, made),
        "left_out": run.skipped,
        "records": report.plain(
            {"masks": [r.to_dict() for r in made.records], "ct": [r.to_dict() for r in ct_records], **made.singles}
        ),
    }
    with writing(run.out):
        report.write_report(result, run.out)
    return result


def _figures(run: Run, made: Measured, ct_records: list[ct.CTRecord]) -> dict[str, Any]:
    """The summary of every part; `{}` of those that were not asked for."""
    return {
        "cases": len(run.cases),
        "masks": report.summarise_masks(made.records, run.seed),
        "ct": ct.summarise(ct_records, run.metadata, run.seed),
        **{part: made.summaries.get(part, {}) for part in parts.PARTS if part not in ("masks", "ct")},
    }


def _seconds(run: Run, records: list[MaskRecord], ct_records: list[ct.CTRecord], start: float) -> dict[str, Any]:
    """Mean seconds of a mask and of a CT, of everything, and of each part."""
    return {
        "mask": round(float(np.mean([r.seconds for r in records])), 3) if records else None,
        "ct": round(float(np.mean([r.seconds for r in ct_records])), 3) if ct_records else None,
        "total": round(time.perf_counter() - start, 1),
        "parts": run.seconds,
    }


def _command(options: dict[str, Any]) -> str:
    """The command that repeats the evaluation; of the folders only the names."""
    words = [word for key, value in options.items() if value is not None for word in (f"--{key}", str(value))]
    return shlex.join(["sketch2ct", "evaluate", *words])


def _prepare(
    chosen: bundles.Bundle,
    dataset: Dataset,
    images: str,
    labels: str,
    cases: int | None,
    seed: int,
    out: Path,
    hand: float,
    wanted: tuple[str, ...],
) -> Run:
    if images.removeprefix("images") != labels.removeprefix("labels"):
        raise BadRequest(f"'{images}' and '{labels}' are not of the same split.", "Name for example imagesTs and labelsTs.")
    if cases is not None and cases < 1:
        raise BadRequest(f"The number of cases cannot be {cases}.", "Give 1 or more.")
    data = chosen.metadata
    try:
        known = [str(name) for name in data["structures"]]
        ranges = {name: Ranges.from_dict(data["ranges"][name]) for name in known if name in data["ranges"]}
        Grid.centred((0, 0, 0), data["frame"]["spacing"], tuple(data["frame"]["shape"]))
    except (KeyError, TypeError, ValueError) as error:
        raise BundleCorrupt(f"The metadata of bundle '{chosen.name}' lack what an evaluation needs: {error!r}.") from error
    structures = [name for name in known if name in dataset.names.values() and name in ranges]
    if not structures:
        raise BadRequest(f"{dataset.root} holds none of the structures of bundle '{chosen.name}'.", f"It makes: {', '.join(known)}.")
    return Run(dataset, dataset.cases(labels)[:cases], data, structures, ranges, seed, out, hand, wanted)


def _cts(run: Run, generator: VolumeGenerator, ct_cases: int | None) -> list[ct.CTRecord]:
    records = []
    for number, case in enumerate(run.cases[:ct_cases], start=1):
        labels = run.dataset.labels(case)
        record, comparison = ct.compare(case, run.dataset.image(case), labels, generator, run.metadata, run.seed)
        records.append(record)
        if number <= SHEETS:
            figures.ct_sheet(comparison, run.out / "figures" / f"ct-{case}.png")
        say(f"CT {number}/{len(run.cases[:ct_cases])} {case}: {record.seconds:.1f} s")
    return records


def _pictures(run: Run, made: Measured) -> list[str]:
    """Draw the box plots and the sheet of masks; every picture of the report, relative to it."""
    folder = run.out / "figures"
    if made.records:
        figures.dice_figure(made.records, folder / "dice.png")
        names = dict.fromkeys(r.structure for r in made.records)
        figures.mask_sheet([(name, _ranked(made.shown, name)) for name in names], folder / "masks.png")
    if "conditions" in made.singles:
        figures.conditions_figure(made.records, made.singles["conditions"], folder / "conditions.png")
    if "obedience" in made.singles:
        figures.obedience_figure(obedience.shares(made.singles["obedience"]), folder / "obedience.png")
    named = [name for name, part in _DRAWN.items() if part in run.parts]
    sheets = [f"ct-{case}.png" for case in run.cases[:SHEETS]] if "ct" in run.parts else []
    return [f"figures/{name}" for name in (*named, *sheets) if (folder / name).is_file()]


_DRAWN = {"dice.png": "masks", "masks.png": "masks", "conditions.png": "conditions", "obedience.png": "obedience"}


def _ranked(shown: list[figures.Shown], structure: str) -> list[tuple[str, figures.Shown]]:
    own = sorted((s for s in shown if s.record.structure == structure), key=lambda s: s.record.values["dice_3d"])
    return [("worst", own[0]), ("median", own[len(own) // 2]), ("best", own[-1])]
