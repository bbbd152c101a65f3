"""Trained stages -> a bundle: packed weights, metadata, model card with the measured figures, licence, checksums."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from shutil import copyfile
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from .. import __version__, bundle, describe
from ..conditioning import text
from ..data.nnunet import Dataset
from ..errors import BadRequest
from ..masks.boxes import Boxes
from ..modality import of
from . import prepare, region_stage, region_volume_stage
from .autoencoder_stage import trained_autoencoder
from .guide import average_anatomy, write_guide
from .sizes import mask_size, volume_size

CARDS = Path(__file__).parent / "recipes"
SHEET = "sheet.png"


def export(settings: dict[str, Any], dataset: Dataset, out: Path, report: Path | None = None) -> bundle.Bundle:
    """Write `out/bundle/<name>` from the stages trained in `out`; `report` is the folder of an evaluation whose tables the card quotes.

    What a stage adds depends on its `system`; a picture `out/sheet.png` of samples goes into the card. Raises BadRequest when the stages
    are not trained.
    """
    cache, name = out / "cache", settings["bundle"]
    stages = {}
    for stage in ("mask", "autoencoder", "volume"):
        if not (out / stage / "weights.safetensors").is_file():
            raise BadRequest(f"The stage '{stage}' has not been trained in {out}.", f"Train it with --stage {stage}.")
        record = json.loads((out / stage / "recipe.json").read_text())
        stages[stage] = {key: record[key] for key in ("minutes", "device", "torch", "init") if key in record}
    metadata = {
        "name": name,
        "version": __version__,
        "modality": of(settings).name,
        "structures": settings["structures"],
        "frame": settings["frame"],
        "facts": list(describe.FACTS),
        "hu": prepare.prepared_hu(dataset, settings["train"], settings, cache),
        "text_encoder": {"name": text.NAME, "sha256": text.SHA256},
        "generators": {stage: [settings[stage].get("system", SYSTEM)] for stage in ("mask", "volume")},
        "training": {
            "data": settings["data"],
            "cases": len(dataset.cases(settings["train"])),
            "seed": settings["seed"],
            "stages": stages,
        },
        "licence": settings.get("licence", "Apache-2.0"),
    }
    weights: dict[str, dict[str, Tensor]] = {}
    for stage in ("mask", "volume"):
        own, tensors = PARTS[stage, settings[stage].get("system", SYSTEM)](settings, out)
        metadata, weights = metadata | own, weights | tensors
    card = (CARDS / f"{settings['card']}.md").read_text(encoding="utf-8")
    figures = _tables(report, regional="region" in metadata) if report else "Not measured yet."
    licence = (CARDS / f"{settings['card']}.LICENSE").read_text(encoding="utf-8")
    folder = out / "bundle" / name
    folder.mkdir(parents=True, exist_ok=True)
    write_guide(folder, average_anatomy(dataset, settings["train"], metadata))
    card = card.replace("{figures}", figures).replace("{sheet}", _sheet(out, folder))
    return bundle.save(folder, metadata, weights, card, licence)


Part = tuple[dict[str, Any], dict[str, dict[str, Tensor]]]  # metadata, weights by part


def _sketch2ct_mask(settings: dict[str, Any], out: Path) -> Part:
    boxes = Boxes.from_dict(json.loads((out / "mask" / "boxes.json").read_text()))
    sampling = settings["sampling"]
    mask = {
        "network": mask_size(settings).to_dict(),
        "boxes": {key: value for key, value in boxes.to_dict().items() if key not in ("ranges", "placement")},
        "steps": sampling["mask_steps"],
        "guidance": sampling["guidance"],
        "temperature": sampling["temperature"],
    }
    ranges = {name: ranges.to_dict() for name, ranges in boxes.ranges.items()}
    weights = {part: load_file(out / "mask" / f"{file}.safetensors") for part, file in (("mask", "weights"), ("shapes", "shapes"))}
    return {"placement": boxes.placement, "ranges": ranges, "mask": mask}, weights


def _sketch2ct_volume(settings: dict[str, Any], out: Path) -> Part:
    autoencoder = trained_autoencoder(settings, out)
    volume = {
        "network": volume_size(settings).to_dict(),
        "autoencoder": autoencoder.size.to_dict(),
        "labels": list(prepare.label_names(settings)),
        "steps": settings["sampling"]["volume_steps"],
        "temperature": settings["sampling"]["volume_temperature"],
        "guidance": settings["sampling"]["volume_guidance"],
    }
    weights = {part: load_file(out / "volume" / f"{file}.safetensors") for part, file in (("volume", "weights"), ("atlas", "atlas"))}
    return {"volume": volume}, weights | {"decoder": autoencoder.decoder_state()}


SYSTEM = "sketch2ct"  # where a recipe names none
PARTS: dict[tuple[str, str], Callable[[dict[str, Any], Path], Part]] = {
    ("mask", "sketch2ct"): _sketch2ct_mask,
    ("volume", "sketch2ct"): _sketch2ct_volume,
    ("mask", "guidegen"): region_stage.bundle_part,
    ("volume", "guidegen"): region_volume_stage.bundle_part,
}


def _sheet(out: Path, folder: Path) -> str:
    """The card's line for the picture of samples, which is copied into the bundle's folder."""
    if not (out / SHEET).is_file():
        return "Not drawn yet."
    (folder / "docs").mkdir(exist_ok=True)
    copyfile(out / SHEET, folder / "docs" / SHEET)
    return f"![Samples, each with its description]({SHEET})"


def _tables(report: Path, *, regional: bool = False) -> str:
    """The text and tables of an evaluation, one heading level down, without its pictures; `regional` for those of whole regions alone."""
    lines = (report / "report.md").read_text(encoding="utf-8").splitlines()[2:]
    if regional:
        starts = [n for n, line in enumerate(lines) if line.startswith("## ")]
        own = next((n for n in starts if lines[n].startswith("## Whole regions")), starts[0] if starts else len(lines))
        end = next((n for n in starts if n > own), len(lines))
        lines = [*lines[: min(starts, default=0)], *lines[own:end]]
    kept = [f"#{line}" if line.startswith("#") else line for line in lines if not line.startswith("![")]
    return "\n".join(kept).strip()
