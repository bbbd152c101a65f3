"""Measure a bundle on cases it has not seen: masks against truth and baselines, probes of the text, CTs, one report."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import bundle as bundles
from .. import devices, masks, volumes
from ..data.nnunet import Dataset
from ..describe import Ranges
from ..engine import versions
from ..errors import BadRequest, BundleCorrupt
from ..generation import MaskGenerator, VolumeGenerator
from ..geometry import Grid
from ..modality import of
from ..results import writing
from . import ct, ct_kit, figures, mask_parts, obedience, parts, regions, report, stated
from .ablation_report import read_ablation
from .case import MaskRecord
from .mask_parts import Measured, Run, say
from .radimagenet import RadImageNetFeatures
from .realism import FeatureSource
from .segmenter import Segmenter
from .usefulness import read_usefulness

DRAWS = 10  # of each probe and structure; fewer for a quick look at few cases
SHEETS = 3  # CTs that are drawn


@dataclass
class Judges:
    """What CTs are judged by: a trained segmenter, and features of the Fréchet distance; each may be missing."""

    segmenter: Segmenter | None = None
    features: FeatureSource | None = None


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
    draws: int | None = None,
    ct_cases: int | None = None,
    ct_samples: int = 2,
    segmenter: Path | None = None,
    fid_weights: Path | None = None,
    usefulness: Path | None = None,
    ablation: Path | None = None,
    surroundings: str | None = None,
    gaussian: Path | None = None,
    region_samples: int | None = None,
    load_bundle: Callable[[str], bundles.Bundle] = bundles.load,
    load_masks: Callable[[str, bundles.Bundle, torch.device], MaskGenerator] = masks.load,
    load_volumes: Callable[[str, bundles.Bundle, torch.device], VolumeGenerator] = volumes.load,
) -> dict[str, Any]:
    """Evaluate `bundle` on the cases of a split, write `report.json`, `report.md`, `report.html` and `figures/` to `out`; the report.

    `images` and `labels` name the split's folders in `data` (imagesTs, labelsTs); baselines are fitted on labelsTr. `only` names
    the parts, with commas (see `parts`). `cases` takes the first so many only, `ct_cases` the same for the CTs, 0 for none; `samples`
    masks are made for each sketch, which is the exact outline or, with `hand`, wavers as `sketching.hand` does; `draws` of each
    probe and structure; `ct_samples` CTs of each label map. `segmenter` is a folder of `train-segmenter` that judges the CTs,
    `fid_weights` a ResNet-50 for their Fréchet distance (see radimagenet), `usefulness` and `ablation` folders whose
    results the report quotes. `surroundings` names a bundle that makes whole regions: `region_samples` of them are measured, and every
    pairing of its generators with those of `bundle`; `gaussian` is a folder of 'train-region-baseline' to compare with.
    Raises BadRequest, BundleMissing, BundleCorrupt or WriteFailed.
    """
    start = time.perf_counter()
    wanted = parts.chosen(only)
    chosen = load_bundle(bundle)
    run = _prepare(chosen, Dataset(Path(data)), images, labels, cases, seed, Path(out), hand, wanted)
    place = devices.choose(device)
    judges = _judges(run, chosen, place, segmenter, fid_weights, regional=bool(surroundings))
    quoted = {"usefulness": read_usefulness(usefulness, chosen.digest) if usefulness else {}}
    quoted["ablation"] = read_ablation(ablation) if ablation else {}
    with writing(run.out):
        (run.out / "figures").mkdir(parents=True, exist_ok=True)
    count = draws if draws is not None else (DRAWS if cases is None else min(DRAWS, max(2, cases)))
    made, cts, kit = Measured(), list[ct_kit.CaseFigures](), dict[str, Any]()
    if set(wanted) - {"ct", "realism"}:
        made = mask_parts.measure(run, load_masks("sketch2ct", chosen, place), samples, count)
    if "ct" in wanted and ct_cases != 0:
        cts, kit = _cts(run, load_volumes("sketch2ct", chosen, place), judges, ct_cases, ct_samples)
    options = {"bundle": Path(bundle), "data": Path(data), "images": images, "labels": labels, "out": "OUT", "seed": seed, "device": device}
    options |= {"cases": cases, "samples": samples if samples != 1 else None, "parts": only, "hand": f"{hand:g}" if hand else None}
    options |= {"draws": draws, "ct-cases": ct_cases, "ct-samples": ct_samples if ct_samples != 2 else None, "segmenter": segmenter}
    options |= {"fid-weights": fid_weights, "usefulness": usefulness, "ablation": ablation}
    options |= {"surroundings": surroundings and Path(surroundings), "gaussian": gaussian, "region-samples": region_samples}
    regional: dict[str, Any] = {}
    maps: dict[str, Any] = {}
    if surroundings:
        regional, maps = regions.measure_regions(
            run,
            chosen,
            load_bundle(surroundings),
            place,
            load_masks,
            load_volumes,
            judges.segmenter,
            judges.features,
            gaussian=gaussian,
            samples=region_samples or regions.SAMPLES,
            ct_cases=ct_cases,
        )
    result = {
        **_figures(run, made, [f.record for f in cts], kit),
        **quoted,
        "seconds": _seconds(run, made.records, [f.record for f in cts], start),
        "hardware": stated.hardware(place),
        "versions": versions(),
        "seed": seed,
        "samples": samples,
        "hand": hand,
        "parts": list(wanted),
        "command": stated.command("evaluate", options),
        "bundle": {"name": chosen.name, "digest": chosen.digest},
        "figures": _pictures(run, made),
        "left_out": run.skipped,
        "records": _records(made, cts) | ({"regions": report.plain(maps)} if surroundings else {}),
        **({"regions": regional} if surroundings else {}),
    }
    with writing(run.out):
        report.write_report(result, run.out)
    return result


def _figures(run: Run, made: Measured, cts: list[ct.CTRecord], kit: dict[str, Any]) -> dict[str, Any]:
    """The summary of every part; `{}` of those that were not asked for."""
    return {
        "cases": len(run.cases),
        "masks": report.summarise_masks(made.records, run.seed),
        "ct": ct.summarise(cts, run.metadata, run.seed),
        "ct_kit": kit,
        **{part: made.summaries.get(part, {}) for part in parts.PARTS if part not in ("masks", "ct", "realism")},
    }


def _records(made: Measured, cts: list[ct_kit.CaseFigures]) -> Any:
    """Every single measurement, as JSON."""
    of_cts = {"ct": [f.record.to_dict() for f in cts], "ct_kit": [f.to_dict() for f in cts]}
    return report.plain({"masks": [r.to_dict() for r in made.records], **of_cts, **made.singles})


def _seconds(run: Run, records: list[MaskRecord], ct_records: list[ct.CTRecord], start: float) -> dict[str, Any]:
    """Mean seconds of a mask and of a CT, of everything, and of each part."""
    return {
        "mask": round(float(np.mean([r.seconds for r in records])), 3) if records else None,
        "ct": round(float(np.mean([r.seconds for r in ct_records])), 3) if ct_records else None,
        "total": round(time.perf_counter() - start, 1),
        "parts": run.seconds,
    }


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
    split = stated.split_of(images, labels)
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
    return Run(dataset, dataset.cases(split)[:cases], data, structures, ranges, seed, out, hand, wanted)


def _judges(
    run: Run, chosen: bundles.Bundle, place: torch.device, segmenter: Path | None, fid_weights: Path | None, *, regional: bool = False
) -> Judges:
    """What was named on the command line, read and checked; `regional` where pairings are judged, too. Raises BadRequest."""
    if (segmenter or fid_weights) and "ct" not in run.parts and not regional:
        raise BadRequest("A segmenter and weights of the Fréchet distance judge CTs; the part ct is not asked for.", "Add it to --parts.")
    judges = Judges()
    if segmenter:
        judges.segmenter = Segmenter.load(segmenter, place)
        _check_segmenter(judges.segmenter, segmenter, run, chosen.name)
    if fid_weights:
        judges.features = RadImageNetFeatures(fid_weights, place)
    return judges


def _check_segmenter(segmenter: Segmenter, folder: Path, run: Run, bundle: str) -> None:
    """Raises BadRequest for a segmenter of other structures or images, or one that was trained on the cases to be measured."""
    train = f"Train one with 'sketch2ct train-segmenter --bundle {bundle}'."
    missing = [name for name in run.structures if name not in segmenter.structures]
    if missing:
        raise BadRequest(f"The segmenter in {folder} knows no {missing[0]}; it finds {', '.join(segmenter.structures)}.", train)
    if of(segmenter.settings) != of(run.metadata):
        raise BadRequest(f"The segmenter in {folder} is for {of(segmenter.settings).name}, the bundle for {of(run.metadata).name}.", train)
    trained = segmenter.about()
    if trained.get("data") == run.dataset.root.name and trained.get("split") == run.dataset.split(run.cases[0]):
        raise BadRequest(f"The segmenter in {folder} was trained on the split {trained['split']}, which it shall judge.", "Name another.")


def _cts(
    run: Run, generator: VolumeGenerator, judges: Judges, ct_cases: int | None, samples: int
) -> tuple[list[ct_kit.CaseFigures], dict[str, Any]]:
    """The CTs of the first cases measured, SHEETS of them drawn. Without the part `realism`, none is held against other scans."""
    alone: dict[str, Any] = {} if "realism" in run.parts else {"training": []}

    def shown(comparison: ct.Comparison) -> None:
        if comparison.case in run.cases[:SHEETS]:
            figures.ct_sheet(comparison, run.out / "figures" / f"ct-{comparison.case}.png")

    return ct_kit.measure_ct(
        run.dataset,
        run.cases[:ct_cases],
        run.metadata,
        generator,
        judges.segmenter,
        run.seed,
        samples=samples if "realism" in run.parts else 1,
        features=judges.features,
        shown=shown,
        say=say,
        timed=run.part,
        **alone,
    )


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
