"""What each part of the mask model gives: variants trained without it, and a bundle sampled in other ways, on the same questions.

Every row makes the same masks from the same noise, so that differences are paired. Sampling holds what a request states exactly
(`Sketch2CTMasks.steer`: the drawn section, a volume in mL), which hides some of what a network does not know: everything is measured
without and with it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import __version__, devices, masks
from .. import bundle as bundles
from ..conditioning.text import TextEncoder
from ..data.nnunet import Dataset
from ..describe import Ranges
from ..errors import BadRequest
from ..generation import MaskGenerator
from ..masks.boxes import Boxes
from ..masks.sketch2ct import Sketch2CTMasks
from ..modality import of
from ..request import Sketch
from ..results import writing
from ..training import ablation as training
from ..training.run import read_recipe
from . import ablation_report, conditions, metrics, probes
from .case import Question, make, torch_rng
from .mask_parts import Run, say
from .report import FIVE

STEPS = (1, 4, 5, 10, 20, 30)
GUIDANCE = (0.5, 1.0, 1.5, 2.0, 3.0)
STEERING = {"off": False, "on": True}
VERSION = 1  # of ablation.json
BUNDLE = "bundle"


@dataclass
class Asking:
    """What every row is asked: questions, each with the two sketches of two planes (where there are two), and volumes in numbers."""

    run: Run
    draws: int
    questions: list[tuple[Question, tuple[Sketch, ...]]] = field(default_factory=list)

    @classmethod
    def of(cls, run: Run, draws: int) -> Asking:
        """Draws every sketch once."""
        found = cls(run, draws)
        for _, questions in run.questions():
            for q in questions:
                two = conditions.requests(q, run.seed).get("two_sketches")
                found.questions.append((q, two.sketches if two else ()))
        return found

    def key(self) -> dict[str, Any]:
        """What a row must have been asked to be of this table."""
        asked = [(q.case, q.structure, q.description, len(two)) for q, two in self.questions]
        digest = hashlib.sha256(json.dumps(asked).encode()).hexdigest()
        data, metadata = self.run.dataset.root.name, self.run.metadata
        return {"data": data, "frame": metadata["frame"], "asked": digest, "draws": self.draws, "seed": self.run.seed, "made": __version__}


def measure(generator: MaskGenerator, asking: Asking, *, two: bool) -> dict[str, Any]:
    """Steering off and on -> `one` sketch and the full description, `two` sketches (if wanted), `volumes` from text alone."""
    found = {}
    for name, steer in STEERING.items():
        with changed(generator, steer=steer):
            one = [_masked(generator, q, (q.sketch,), asking.run.seed) for q, _ in asking.questions]
            more = [_masked(generator, q, sketches, asking.run.seed) for q, sketches in asking.questions if sketches and two]
            run = asking.run
            volumes = probes.volume_in_numbers(generator, run.structures, run.ranges, run.frame, run.seed, asking.draws)
        found[name] = {"one": one, "two": more, "volumes": volumes}
    return found


def _masked(generator: MaskGenerator, q: Question, sketches: tuple[Sketch, ...], seed: int) -> dict[str, Any]:
    """One mask against the truth; its noise is that of an evaluation's first sample."""
    start = time.perf_counter()
    mask = make(generator, q.structure, sketches, q.description, q.grid, torch_rng(seed, q.case, q.structure, "sample 0"))
    seconds = time.perf_counter() - start
    on_planes = [metrics.plane_dice(mask, q.mask, q.grid, sketch)[0] for sketch in sketches]
    found = {"case": q.case, "structure": q.structure, "seconds": round(seconds, 3)}
    return {**found, "dice_3d": round(metrics.dice(mask, q.mask), 5), "dice_plane": round(float(np.mean(on_planes)), 5)}


@contextmanager
def changed(generator: Any, **values: Any) -> Iterator[None]:
    """A generator with other settings, for a while."""
    before = {name: getattr(generator, name) for name in values}
    for name, value in values.items():
        setattr(generator, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(generator, name, value)


def ablate(
    recipe: str,
    data: Path,
    out: Path,
    *,
    steps: int = 400,
    cases: int | None = None,
    seed: int | None = None,
    resume: bool = False,
    device: str = "auto",
    variants: str | None = None,
    bundle: str | None = None,
    fine_tune: bool = False,
    cache: Path | None = None,
    draws: int = 10,
    load_bundle: Callable[[str], bundles.Bundle] = bundles.load,
    load_masks: Callable[[str, bundles.Bundle, torch.device], MaskGenerator] = masks.load,
) -> dict[str, Any]:
    """Train the variants of a recipe's mask model for `steps` each, measure them, and `bundle` at other steps and guidance; write
    `ablation.json` and `ablation.md` to `out`; what `ablation.json` holds (see `ablation_report`).

    They are measured on the `cases` first cases of the recipe's split `choose` (None: all), with `draws` volumes a structure. With
    `fine_tune`, the variants begin with the mask model of `bundle` and not untrained: what a part gives a model that is trained. `cache`
    is where the prepared training data lie or go (`out/cache`). With `resume`, what `out` holds of the same training and the same
    questions is kept. Raises BadRequest, BundleMissing, BundleCorrupt, WriteFailed or Cancelled.
    """
    names, settings, dataset = training.chosen(variants), read_recipe(recipe), Dataset(Path(data))
    _check(settings, recipe, dataset, names, {"steps": steps, "draws": draws, "cases": 1 if cases is None else cases}, bundle)
    if fine_tune and bundle is None:
        raise BadRequest("There is no bundle whose mask model the variants could begin with.", "Name it with --bundle.")
    seed = int(settings["seed"]) if seed is None else seed
    own = load_bundle(bundle) if bundle is not None else None
    out, place = Path(out), devices.choose(device)
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    options = {"data": Path(data).name, "out": "OUT", "steps": steps, "cases": cases, "seed": seed, "device": device}
    options |= {"variants": variants, "bundle": None if bundle is None else Path(bundle).name, "draws": draws}
    options |= {"cache": None if cache is None else "CACHE", "fine-tune": fine_tune}
    table = Table(out, resume, place, seed, _head(recipe, settings, dataset, options, place))
    if names:
        folder = out / "cache" if cache is None else Path(cache)
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        say("Ablation: preparing the training data")
        begin = _weights(load_masks("sketch2ct", own, torch.device("cpu"))) if own is not None and fine_tune else None
        material = training.Material.prepared({**settings, "seed": seed}, dataset, folder, steps, seed, begin)
        _variants(names, material, settings, dataset, cases, draws, table, device)
    if own is not None:
        _sampling(own, load_masks("sketch2ct", own, place), dataset, settings["choose"], cases, draws, table)
    table.result["complete"] = True
    table.write()
    return table.result


def _weights(generator: Any) -> dict[str, torch.Tensor]:
    return {name: value.float() for name, value in generator.net.state_dict().items()}


def _check(
    settings: dict[str, Any], recipe: str, dataset: Dataset, names: tuple[str, ...], counts: dict[str, int], bundle: str | None
) -> None:
    if "mask" not in settings:
        raise BadRequest(f"The recipe '{recipe}' has no mask model.", "Name a recipe that makes a bundle, headneck for example.")
    if of(settings) != dataset.modality:
        reason = f"The recipe '{recipe}' is for {of(settings).name}, and {dataset.root} holds {dataset.modality.name}."
        raise BadRequest(reason, "Name the data set it is for.")
    if wrong := next((name for name, count in counts.items() if count < 1), None):
        raise BadRequest(f"The number of {wrong} cannot be {counts[wrong]}.", "Give 1 or more.")
    if not names and bundle is None:
        raise BadRequest("Neither variants nor a bundle are to be measured.", "Name some with --variants or --bundle.")


@dataclass
class Table:
    """The rows found so far, on disk: one file each in `rows`, and the report, which is written again after every row."""

    out: Path
    resume: bool
    place: torch.device
    seed: int
    result: dict[str, Any]

    def row(self, about: dict[str, Any], key: dict[str, Any], make_row: Callable[[], dict[str, Any]]) -> None:
        """Add a row: the measurements kept from a run with the same key, else made now."""
        path = self.out / "rows" / f"{about['row'].replace(' ', '-')}.json"
        key = json.loads(json.dumps(key))
        kept = training.read_json(path) if self.resume else None
        if not isinstance(kept, dict) or kept.get("key") != key:
            say(f"Ablation: measuring {about['title']}")
            kept = {"key": key, "measured": make_row()}
            with writing(self.out):
                path.parent.mkdir(exist_ok=True)
                training.write_json(path, kept)
        self.result["rows"].append({**about, "measured": kept["measured"]})
        self.write()

    def write(self) -> None:
        """Write what is known, so that an end before time loses nothing."""
        with writing(self.out):
            ablation_report.write(self.result, self.out, self.seed)


def _asking(dataset: Dataset, split: str, cases: int | None, draws: int, metadata: dict[str, Any], table: Table) -> Asking:
    """The questions, about the five structures that comparisons are made on, or all where a model makes none of them."""
    held = [name for name in metadata["structures"] if name in metadata["ranges"] and name in dataset.names.values()]
    structures = [name for name in held if name in FIVE] or held
    if not structures:
        raise BadRequest(f"{dataset.root} holds none of the structures to be measured.", f"They are: {', '.join(metadata['structures'])}.")
    ranges = {name: Ranges.from_dict(metadata["ranges"][name]) for name in structures}
    asked = dataset.cases(split)[:cases]
    run = Run(dataset, asked, metadata, structures, ranges, table.seed, table.out, 0.0, ())
    table.result |= {"cases": len(asked), "structures": structures}
    say(f"Ablation: drawing the sketches of {len(asked)} cases")
    return Asking.of(run, draws)


def _variants(
    names: tuple[str, ...],
    material: training.Material,
    settings: dict[str, Any],
    dataset: Dataset,
    cases: int | None,
    draws: int,
    table: Table,
    device: str,
) -> None:
    boxes: Boxes = material.boxes
    metadata = {key: settings[key] for key in ("structures", "frame")} | {key: boxes.to_dict()[key] for key in ("ranges", "placement")}
    asking, encode = _asking(dataset, settings["choose"], cases, draws, metadata, table), TextEncoder()
    own = settings["sampling"]
    sampling = {"steps": own["mask_steps"], "guidance": float(own["guidance"]), "temperature": float(own["temperature"])}
    for name in names:
        folder = table.out / "variants" / name
        with writing(folder):
            trained = training.train_variant(
                name, material, folder, resume=table.resume, device=device, say=lambda t: say(f"Ablation: {t}")
            )
        about = {"row": name, "title": ablation_report.TITLES[name], "reference": training.FULL, "sampling": sampling}
        about |= {"parameters": trained["parameters"]}
        about |= {"trained": {k: trained[k] for k in ("steps", "seconds", "seed", "device", "torch")}}

        def made(folder: Path = folder) -> dict[str, Any]:
            net = training.load_variant(folder)
            given = {"guidance": sampling["guidance"], "temperature": sampling["temperature"]}
            return measure(Sketch2CTMasks(net, boxes, encode, sampling["steps"], table.place, **given), asking, two=True)

        table.row(about, {**asking.key(), "weights": trained["weights"], "sampling": sampling}, made)


def _sampling(own: bundles.Bundle, generator: Any, dataset: Dataset, split: str, cases: int | None, draws: int, table: Table) -> None:
    """A bundle as it is, then with other steps, then with other guidance; two sketches are left out, they would tell nothing new."""
    with bundles.reading(own, "masks/sketch2ct"):
        asking = _asking(dataset, split, cases, draws, own.metadata, table)
    usual = {"steps": int(generator.steps), "guidance": float(generator.guidance)}
    ways: dict[str, dict[str, Any]] = {BUNDLE: usual}
    ways |= {f"steps {n}": {**usual, "steps": n} for n in STEPS if n != usual["steps"]}
    ways |= {f"guidance {g:g}": {**usual, "guidance": g} for g in GUIDANCE if g != usual["guidance"]}
    table.result["bundle"] = {"name": own.name, "digest": own.digest, **usual}
    parameters = sum(p.numel() for p in generator.net.parameters()) if hasattr(generator, "net") else None
    for row, way in ways.items():
        title = f"{own.name}: {way['steps']} step{'s' * (way['steps'] > 1)}, guidance {way['guidance']:g}" + (
            " (its own)" if row == BUNDLE else ""
        )
        about = {"row": row, "title": title, "reference": BUNDLE, "sampling": way, "parameters": parameters, "trained": None}

        def made(way: dict[str, Any] = way) -> dict[str, Any]:
            with changed(generator, **way):
                return measure(generator, asking, two=False)

        table.row(about, {**asking.key(), "weights": own.digest, "sampling": way}, made)


def _head(recipe: str, settings: dict[str, Any], dataset: Dataset, options: dict[str, Any], place: torch.device) -> dict[str, Any]:
    """What stands above the rows."""
    named = {key: value for key, value in options.items() if value is not None and value is not False}
    words = [word for key, value in named.items() for word in ((f"--{key}",) if value is True else (f"--{key}", str(value)))]
    return {
        "version": VERSION,
        "complete": False,
        "command": shlex.join(["sketch2ct", "ablate", Path(recipe).name if recipe.endswith((".yaml", ".yml")) else recipe, *words]),
        "seed": options["seed"],
        "data": dataset.root.name,
        "split": settings["choose"],
        "draws": options["draws"],
        "begin": options["bundle"] if options["fine-tune"] else None,
        "hardware": {"device": devices.label(place), "cpus": os.cpu_count(), "torch": str(torch.__version__)},
        "rows": [],
    }
