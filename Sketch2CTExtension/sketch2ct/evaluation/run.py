"""Measure a bundle on cases it has not seen: masks against truth and baselines, probes of the text, CTs, one report."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import bundle as bundles
from .. import devices, masks, volumes
from ..anatomy import vocabulary
from ..data.nnunet import Dataset
from ..describe import Ranges
from ..errors import BadRequest, BundleCorrupt
from ..generation import MaskGenerator, VolumeGenerator
from ..geometry import Grid
from ..results import writing
from . import ct, figures, probes, report
from .baselines import Baseline, fit_baselines
from .case import MaskRecord, Question, answer, ask

DRAWS = 10  # of each probe and structure; fewer for a quick look at few cases
SHEETS = 3  # CTs that are drawn


@dataclass
class _Run:
    """What every part of one evaluation needs."""

    dataset: Dataset
    cases: list[str]
    metadata: dict[str, Any]
    structures: list[str]
    ranges: dict[str, Ranges]
    seed: int
    out: Path
    hand: float = 0.0
    skipped: list[str] = field(default_factory=list)

    def questions(self) -> Iterator[tuple[str, list[Question]]]:
        """Every case with what is asked of it: one question a contoured structure."""
        for case in self.cases:
            labels, listed = self.dataset.labels(case), self.dataset.labelled(case)
            asked = []
            for name in (n for n in self.structures if n in listed and labels.has(n)):
                try:
                    asked.append(ask(case, name, labels.mask(name), labels.grid, self.ranges[name], self.seed, self.hand))
                except ValueError as error:
                    self.skipped.append(f"{case} {name}: {error}")
                    _say(f"Left out: {self.skipped[-1]}")
            yield case, asked


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
    ct_cases: int | None = None,
    draws: int | None = None,
    load_bundle: Callable[[str], bundles.Bundle] = bundles.load,
    load_masks: Callable[[str, bundles.Bundle, torch.device], MaskGenerator] = masks.load,
    load_volumes: Callable[[str, bundles.Bundle, torch.device], VolumeGenerator] = volumes.load,
) -> dict[str, Any]:
    """Evaluate `bundle` on the cases of a split, write `report.json`, `report.md` and `figures/` to `out`; the report.

    `images` and `labels` name the split's folders in `data` (imagesTs, labelsTs); baselines are fitted on labelsTr.
    `cases` takes the first so many only, `ct_cases` the same for the CTs, 0 for none; `samples` masks are made for each
    sketch, which is the exact outline or, with `hand`, wavers as `sketching.hand` does; `draws` of each probe and
    structure. Raises BadRequest, BundleMissing, BundleCorrupt or WriteFailed.
    """
    start = time.perf_counter()
    chosen = load_bundle(bundle)
    run = _prepare(chosen, Dataset(Path(data)), images, labels, cases, seed, Path(out), hand)
    place = devices.choose(device)
    masks_of = load_masks("sketch2ct", chosen, place)
    with writing(run.out):
        (run.out / "figures").mkdir(parents=True, exist_ok=True)
    records, shown = _masks(run, masks_of, _baselines(run), samples)
    count = draws if draws is not None else (DRAWS if cases is None else min(DRAWS, max(2, cases)))
    numbers, pairs = _probes(run, masks_of, count)
    ct_records = _cts(run, load_volumes("sketch2ct", chosen, place), ct_cases) if ct_cases != 0 else []
    result = {
        "cases": len(run.cases),
        "masks": report.summarise_masks(records, seed),
        "ct": ct.summarise(ct_records, run.metadata, seed),
        "probes": probes.summarise(numbers, pairs, records, seed),
        "seconds": _seconds(records, ct_records, start),
        "hardware": {"device": devices.label(place), "cpus": os.cpu_count(), "torch": torch.__version__},
        "seed": seed,
        "samples": samples,
        "hand": hand,
        "command": _command(bundle, data, images, labels, cases, device, seed, hand),
        "bundle": {"name": chosen.name, "digest": chosen.digest},
        "figures": _pictures(run, records, shown),
        "left_out": run.skipped,
        "records": {
            "masks": [r.to_dict() for r in records],
            "ct": [r.to_dict() for r in ct_records],
            "volume_in_numbers": numbers,
            "small_against_large": pairs,
        },
    }
    with writing(run.out):
        report.write_report(result, run.out)
    return result


def _seconds(records: list[MaskRecord], ct_records: list[ct.CTRecord], start: float) -> dict[str, float | None]:
    """Mean seconds of a mask and of a CT, and of everything."""
    return {
        "mask": round(float(np.mean([r.seconds for r in records])), 3) if records else None,
        "ct": round(float(np.mean([r.seconds for r in ct_records])), 3) if ct_records else None,
        "total": round(time.perf_counter() - start, 1),
    }


def _command(bundle: str, data: Path, images: str, labels: str, cases: int | None, device: str, seed: int, hand: float) -> str:
    """The command that repeats the evaluation; of the folders only the names."""
    words = ["sketch2ct", "evaluate", "--bundle", Path(bundle).name, "--data", Path(data).name]
    words += ["--images", images, "--labels", labels, "--out", "OUT", "--seed", str(seed), "--device", device]
    words += ["--cases", str(cases)] if cases is not None else []
    return shlex.join([*words, *(["--hand", f"{hand:g}"] if hand else [])])


def _prepare(
    chosen: bundles.Bundle, dataset: Dataset, images: str, labels: str, cases: int | None, seed: int, out: Path, hand: float
) -> _Run:
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
    return _Run(dataset, dataset.cases(labels)[:cases], data, structures, ranges, seed, out, hand)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _baselines(run: _Run) -> dict[str, dict[str, Baseline]]:
    if "Tr" not in run.dataset.splits():
        _say("No labelsTr in the data: baselines are left out.")
        return {}
    _say("Fitting the baselines on labelsTr")
    return fit_baselines(run.dataset, run.structures)


def _masks(
    run: _Run, generator: MaskGenerator, baselines: dict[str, dict[str, Baseline]], samples: int
) -> tuple[list[MaskRecord], list[figures.Shown]]:
    """Every mask measured; and the worst, median and best of each structure are kept to be drawn."""
    records: list[MaskRecord] = []
    shown: list[figures.Shown] = []
    for number, (case, questions) in enumerate(run.questions(), start=1):
        image = run.dataset.image(case)
        for question in questions:
            for sample in range(samples):
                own = baselines.get(question.structure, {})
                record, mask = answer(question, generator, own, run.seed, sample)
                records.append(record)
                shown.append(figures.Shown.of(record, question, mask, image))
        done = [r for r in records if r.case == case]
        dice = ", ".join(f"{vocabulary()[r.structure].spoken} {r.values['dice_3d']:.2f}" for r in done)
        _say(f"{number}/{len(run.cases)} {case}: {dice}")
    return records, shown


def _probes(run: _Run, generator: MaskGenerator, draws: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    shape, spacing = run.metadata["frame"]["shape"], run.metadata["frame"]["spacing"]
    frame = Grid.centred((0, 0, 0), spacing, (shape[0], shape[1], shape[2]))
    _say(f"Probes: {draws} draws of each structure")
    volume = probes.volume_in_numbers(generator, run.structures, run.ranges, frame, run.seed, draws)
    return volume, probes.small_against_large(generator, run.structures, frame, run.seed, draws)


def _cts(run: _Run, generator: VolumeGenerator, ct_cases: int | None) -> list[ct.CTRecord]:
    records = []
    for number, case in enumerate(run.cases[:ct_cases], start=1):
        labels = run.dataset.labels(case)
        record, comparison = ct.compare(case, run.dataset.image(case), labels, generator, run.metadata, run.seed)
        records.append(record)
        if number <= SHEETS:
            figures.ct_sheet(comparison, run.out / "figures" / f"ct-{case}.png")
        _say(f"CT {number}/{len(run.cases[:ct_cases])} {case}: {record.seconds:.1f} s")
    return records


def _pictures(run: _Run, records: list[MaskRecord], shown: list[figures.Shown]) -> list[str]:
    """Draw the box plot and the sheet of masks; every picture of the report, relative to it."""
    folder = run.out / "figures"
    if records:
        figures.dice_figure(records, folder / "dice.png")
        figures.mask_sheet([(name, _ranked(shown, name)) for name in dict.fromkeys(r.structure for r in records)], folder / "masks.png")
    made = [folder / "dice.png", folder / "masks.png", *(folder / f"ct-{case}.png" for case in run.cases[:SHEETS])]
    return [path.relative_to(run.out).as_posix() for path in made if path.is_file()]


def _ranked(shown: list[figures.Shown], structure: str) -> list[tuple[str, figures.Shown]]:
    own = sorted((s for s in shown if s.record.structure == structure), key=lambda s: s.record.values["dice_3d"])
    return [("worst", own[0]), ("median", own[len(own) // 2]), ("best", own[-1])]
