"""`sketch2ct train`: recipe, data and out folder -> trained stages -> bundle. Every stage can be resumed or trained alone."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from safetensors.torch import load_file, save_file

from .. import bundle as bundles
from ..data.nnunet import Dataset
from ..data.shapes import Shape
from ..errors import BadRequest
from ..masks.boxes import Boxes
from ..masks.shape_model import ShapeModel, pack, unpack
from ..modality import of
from ..networks.autoencoder import DOWN, AutoencoderSize
from ..volumes.atlas import build
from . import prepare
from .autoencoder_stage import AutoencoderStage, CropBatches, begin_linear, measure_latents, trained_autoencoder
from .curves import draw_curves
from .export import export
from .loop import fit
from .mask_stage import Drops, MaskBatches, MaskStage, fit_shape_models, make_example
from .region_stage import train_region
from .region_volume_stage import train_region_volume
from .sizes import mask_size, volume_size
from .volume_stage import LatentBatches, VolumeStage, latent_scan

RECIPES = Path(__file__).parent / "recipes"
STAGES = ("mask", "autoencoder", "volume", "bundle")


def read_recipe(recipe: str) -> dict[str, Any]:
    """A recipe by name (`headneck`) or by path; one that is `like` another holds only what differs. Raises BadRequest."""
    path = Path(recipe) if recipe.endswith((".yaml", ".yml")) else RECIPES / f"{recipe}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in RECIPES.glob("*.yaml")))
        raise BadRequest(f"There is no recipe '{recipe}'.", f"Known: {known}; or give the path of a .yaml file.")
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    return _merged(read_recipe(settings.pop("like")), settings) if "like" in settings else settings


def _merged(settings: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """The settings with the changes, key by key at every depth."""
    found = dict(settings)
    for key, value in changes.items():
        found[key] = _merged(found[key], value) if isinstance(value, dict) and isinstance(found.get(key), dict) else value
    return found


def train(
    recipe: str,
    data: Path,
    out: Path,
    *,
    stage: str | None = None,
    resume: bool = False,
    device: str = "auto",
    minutes: float | None = None,
    seed: int | None = None,
    report: Path | None = None,
    init: str | None = None,
) -> None:
    """Train one stage or, with `stage` None, all of them in order and export. `minutes` is the time of this call for each stage; without
    it the recipe says how long, in `steps` or in `minutes`.

    The mask network starts from the weights of the installed bundle `init`, if named, else from random ones. The latents of two
    autoencoders differ, so the other stages always start anew.

    `out` holds `cache/` (prepared data), one folder a stage with `weights.safetensors`, `last.ckpt` and `logs/`, and `bundle/`, whose
    model card quotes the evaluation in `report`.
    """
    settings = read_recipe(recipe)
    if "segmenter" in settings:
        told = f"The recipe '{recipe}' is that of the segmenter that judges CTs, not of a bundle."
        raise BadRequest(told, "Use 'sketch2ct train-segmenter --data DATA --out OUT'.")
    if stage is not None and stage not in STAGES:
        raise BadRequest(f"Unknown stage '{stage}'.", f"Known: {', '.join(STAGES)}.")
    lacking = [name for name in STAGES[:-1] if name not in settings]
    if lacking and stage in (None, "bundle", *lacking):
        raise BadRequest(f"The recipe '{recipe}' has no stage '{lacking[0]}'.", "Name a stage that it has, with --stage.")
    settings["seed"] = settings["seed"] if seed is None else seed
    dataset, cache = Dataset(Path(data)), Path(out) / "cache"
    if of(settings) != dataset.modality:
        reason = f"The recipe '{recipe}' is for {of(settings).name}, and {data} holds {dataset.modality.name}."
        raise BadRequest(reason, "Name the data set it is for.")
    prepare.claimed(cache, dataset, settings)
    train_mask = train_region if settings["mask"].get("system") == "guidegen" else _train_mask
    train_volume = train_region_volume if settings.get("volume", {}).get("system") == "guidegen" else _train_volume
    run: dict[str, Callable[..., None]] = {"mask": train_mask, "autoencoder": _train_autoencoder, "volume": train_volume}
    for name in [stage] if stage else STAGES:
        if name == "bundle":
            export(settings, dataset, Path(out), report)
            draw_curves(Path(out))
            continue
        folder = Path(out) / name
        folder.mkdir(parents=True, exist_ok=True)
        spent = float(minutes if minutes is not None else settings[name]["minutes"])
        if minutes is not None:
            settings[name] = settings[name] | {"steps": None}  # the time that is asked for goes before the recipe's steps
        record = folder / "recipe.json"
        before = json.loads(record.read_text())["minutes"] if resume and record.is_file() else 0.0
        facts = {"stage": name, "minutes": before + spent, "device": device, "torch": str(torch.__version__)}
        begin = bundles.load(init) if init and name == "mask" else None
        if begin is not None:
            facts["init"] = begin.digest
        record.write_text(json.dumps({"recipe": settings, **facts}, indent=1))
        torch.manual_seed(settings["seed"])  # of the network's start; the loop seeds itself
        more = {"begin": begin} if begin is not None else {}
        started = time.monotonic()
        run[name](settings, dataset, cache, folder, minutes=spent, resume=resume, device=device, **more)
        if settings[name].get("steps"):
            facts["minutes"] = round(before + (time.monotonic() - started) / 60, 1)
            record.write_text(json.dumps({"recipe": settings, **facts}, indent=1))


def _train_mask(
    settings: dict[str, Any],
    dataset: Dataset,
    cache: Path,
    out: Path,
    *,
    minutes: float,
    resume: bool,
    device: str,
    begin: bundles.Bundle | None = None,
) -> None:
    shapes = prepare.prepared_shapes(dataset, settings["train"], settings, cache, variants=settings["shapes"]["variants"])
    ranges = prepare.prepared_ranges(settings, cache)
    checks = prepare.prepared_shapes(dataset, settings["choose"], settings, cache, variants=1)
    boxes = prepare.make_boxes(shapes, settings, ranges)
    (out / "boxes.json").write_text(json.dumps(boxes.to_dict()))
    words = prepare.prepared_words(shapes, settings["train"], cache)
    check_words = prepare.prepared_words(checks, settings["choose"], cache)
    models = _shape_models(shapes, boxes, settings, out, resume=resume)
    rng = np.random.default_rng(settings["seed"])
    chosen: dict[str, list] = {}
    for shape in checks:
        chosen.setdefault(shape.structure, []).append(shape)
    examples = []
    for found in chosen.values():
        for shape in found[: settings["mask"]["checks"]]:
            own = shape.variants[0]
            own.outlines = [o for o in own.outlines if o.best]
            own.texts = [own.texts[0]] * 2
            examples.append(make_example(shape, own, boxes, check_words, rng, Drops(0, 0, 0), models))
    stage = MaskStage(settings["mask"], out, minutes, mask_size(settings), examples)
    if begin is not None:
        try:
            stage.net.load_state_dict(widened(begin.weights("mask"), stage.net.state_dict()))
        except RuntimeError as error:
            raise BadRequest(f"The mask network of bundle '{begin.name}' is not the recipe's.", "Start without --init.") from error
    batches = MaskBatches(shapes, boxes, words, settings["mask"], settings["seed"], models)
    fit(stage, batches, out, resume=resume, device=device, seed=settings["seed"])


def widened(weights: dict[str, torch.Tensor], like: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights whose layers take more inputs in `like`, with zeros for those, so that the network begins as the narrower one."""
    found = {}
    for key, value in weights.items():
        more = like[key].shape[1] - value.shape[1] if key in like and value.ndim > 1 else 0
        found[key] = value if more <= 0 else torch.cat([value, value.new_zeros(value.shape[0], more, *value.shape[2:])], dim=1)
    return found


def _shape_models(shapes: list[Shape], boxes: Boxes, settings: dict[str, Any], out: Path, *, resume: bool) -> dict[str, ShapeModel]:
    """The shape models of a recipe, from `out` when its training is resumed."""
    path = out / "shapes.safetensors"
    if not (resume and path.is_file()):
        found = pack(fit_shape_models(shapes, boxes, settings["seed"]))
        save_file({k: torch.from_numpy(v).half().contiguous() for k, v in found.items()}, path)
    return unpack({k: v.float() for k, v in load_file(path).items()})  # as rounded as a bundle stores them


def _train_autoencoder(
    settings: dict[str, Any], dataset: Dataset, cache: Path, out: Path, *, minutes: float, resume: bool, device: str
) -> None:
    scans = prepare.prepared_scans(dataset, settings["train"], settings, cache)
    checks = prepare.prepared_scans(dataset, settings["choose"], settings, cache)[: settings["autoencoder"]["checks"]]
    size = AutoencoderSize.from_dict(settings["autoencoder"]["network"])
    stage = AutoencoderStage(settings["autoencoder"], out, minutes, size, checks, of(settings))
    if size.linear and not resume:
        begin_linear(stage.net, scans[::4])
    batches = CropBatches(scans, settings["autoencoder"], settings["seed"], of(settings))
    path = fit(stage, batches, out, resume=resume, device=device, seed=settings["seed"])
    net = stage.net.cpu().eval()
    measure_latents(net, scans[::4])
    save_file({k: v.contiguous() for k, v in net.state_dict().items()}, path)


def _train_volume(settings: dict[str, Any], dataset: Dataset, cache: Path, out: Path, *, minutes: float, resume: bool, device: str) -> None:
    net = trained_autoencoder(settings, out.parent)
    names, structures = prepare.label_names(settings), len(settings["structures"])
    scans = []
    both_ways = (False, True) if settings.get("mirror", True) else (False,)
    for split, turns in ((settings["train"], both_ways), (settings["choose"], (False,))):
        found = prepare.prepared_scans(dataset, split, settings, cache)
        scans.append([latent_scan(net, scan, names, mirror=mirror) for scan in found for mirror in turns])
    placement = Boxes.from_dict(json.loads((out.parent / "mask" / "boxes.json").read_text())).placement
    cell = DOWN * np.asarray(settings["frame"]["spacing"], dtype=float)
    own = settings["volume"]
    atlas = build(((s.latent, s.known, s.cells, s.middles) for s in scans[0]), placement, tuple(own["atlas"]), cell)
    save_file({"values": torch.from_numpy(atlas.values)}, out / "atlas.safetensors")
    batches, held = (LatentBatches(part, atlas, names, structures, own, settings["seed"]) for part in scans)
    rng = np.random.default_rng(settings["seed"])
    checks = [held.window(held.scans[n % len(held.scans)], rng) for n in range(own["checks"])]
    stage = VolumeStage(own, out, minutes, volume_size(settings), checks, structures)
    fit(stage, batches, out, resume=resume, device=device, seed=settings["seed"])
