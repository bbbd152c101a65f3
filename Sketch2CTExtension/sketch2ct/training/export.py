"""Trained stages -> a bundle: packed weights, metadata, model card with the measured figures, licence, checksums."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from .. import __version__, bundle, describe
from ..conditioning import text
from ..data.nnunet import Dataset
from ..masks.boxes import Boxes
from ..modality import of
from ..networks.autoencoder import AutoencoderSize, CTAutoencoder
from . import prepare
from .guide import average_anatomy, write_guide
from .sizes import mask_size, volume_size

CARDS = Path(__file__).parent / "recipes"


def export(settings: dict[str, Any], dataset: Dataset, out: Path, report: Path | None = None) -> bundle.Bundle:
    """Write `out/bundle/<name>` from the stages trained in `out`; `report` is the folder of an evaluation whose tables the card quotes."""
    cache, name = out / "cache", settings["bundle"]
    boxes = Boxes.from_dict(json.loads((out / "mask" / "boxes.json").read_text()))
    autoencoder = CTAutoencoder(AutoencoderSize.from_dict(settings["autoencoder"]["network"]))
    autoencoder.load_state_dict(load_file(out / "autoencoder" / "weights.safetensors"))
    stages = {}
    for stage in ("mask", "autoencoder", "volume"):
        record = json.loads((out / stage / "recipe.json").read_text())
        stages[stage] = {key: record[key] for key in ("minutes", "device", "torch", "init") if key in record}
    sampling = settings["sampling"]
    metadata = {
        "name": name,
        "version": __version__,
        "modality": of(settings).name,
        "structures": settings["structures"],
        "frame": settings["frame"],
        "placement": boxes.placement,
        "ranges": {name: ranges.to_dict() for name, ranges in boxes.ranges.items()},
        "facts": list(describe.FACTS),
        "hu": prepare.prepared_hu(dataset, settings["train"], settings, cache),
        "text_encoder": {"name": text.NAME, "sha256": text.SHA256},
        "mask": {
            "network": mask_size(settings).to_dict(),
            "boxes": {key: value for key, value in boxes.to_dict().items() if key not in ("ranges", "placement")},
            "steps": sampling["mask_steps"],
            "guidance": sampling["guidance"],
            "temperature": sampling["temperature"],
        },
        "volume": {
            "network": volume_size(settings).to_dict(),
            "autoencoder": autoencoder.size.to_dict(),
            "labels": list(prepare.label_names(settings)),
            "steps": sampling["volume_steps"],
            "temperature": sampling["volume_temperature"],
            "guidance": sampling["volume_guidance"],
        },
        "training": {
            "data": settings["data"],
            "cases": len(dataset.cases(settings["train"])),
            "seed": settings["seed"],
            "stages": stages,
        },
        "licence": settings.get("licence", "Apache-2.0"),
    }
    weights = {
        "mask": load_file(out / "mask" / "weights.safetensors"),
        "shapes": load_file(out / "mask" / "shapes.safetensors"),
        "volume": load_file(out / "volume" / "weights.safetensors"),
        "atlas": load_file(out / "volume" / "atlas.safetensors"),
        "decoder": autoencoder.decoder_state(),
    }
    card = (CARDS / f"{settings['card']}.md").read_text(encoding="utf-8")
    figures = _tables(report) if report else "Not measured yet."
    licence = (CARDS / f"{settings['card']}.LICENSE").read_text(encoding="utf-8")
    folder = out / "bundle" / name
    folder.mkdir(parents=True, exist_ok=True)
    write_guide(folder, average_anatomy(dataset, settings["train"], metadata))
    return bundle.save(folder, metadata, weights, card.replace("{figures}", figures), licence)


def _tables(report: Path) -> str:
    """The text and tables of an evaluation, one heading level down, without its pictures."""
    lines = (report / "report.md").read_text(encoding="utf-8").splitlines()
    kept = [f"#{line}" if line.startswith("#") else line for line in lines[2:] if not line.startswith("![")]
    return "\n".join(kept).strip()
