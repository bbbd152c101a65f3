"""Training of the mask model without some of its parts, so that what each of them gives can be measured.

All variants begin with the full model's weights where they share them (untrained, or those of a bundle), see the same boxes in the same
order with the same noise, and take the same number of steps. Batches and noise are drawn by the number of the step, so that a training
that was interrupted and taken up again sees what it would have seen without.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save
from torch import Tensor

from ..bundle import file_digest
from ..data.nnunet import Dataset
from ..data.shapes import Shape
from ..errors import BadRequest, Cancelled
from ..masks.boxes import Boxes
from ..masks.shape_model import ShapeModel
from ..networks.mask_unet import PARTS, ConditionBatch, MaskNetwork, MaskNetworkSize
from . import prepare
from .loop import Endless, fit
from .mask_stage import MaskBatches, MaskStage, Words, fit_shape_models
from .sizes import mask_size

FULL = "full"
VARIANTS: dict[str, tuple[str, ...]] = {FULL: (), **{part: (part,) for part in PARTS}}
NONE = "none"
TRAINED, BEGUN, WEIGHTS = "trained.json", "begun.json", "weights.safetensors"
NEVER = 10**9  # epochs

Numbered = tuple[int, Tensor, ConditionBatch]


def chosen(text: str | None) -> tuple[str, ...]:
    """The variants that a comma list names, the full model first, which the others are compared with; None is all, `none` none.

    Raises BadRequest.
    """
    if text is None:
        return tuple(VARIANTS)
    named = {word.strip().lower() for word in text.split(",") if word.strip()}
    known = f"Known: {', '.join(VARIANTS)}; or {NONE}."
    if unknown := sorted(named - {NONE, *VARIANTS}):
        raise BadRequest(f"There is no variant '{unknown[0]}' of the mask model.", known)
    if not named or (NONE in named and len(named) > 1):
        raise BadRequest(f"'{text}' names no variants of the mask model.", known)
    return () if NONE in named else tuple(name for name in VARIANTS if name in named | {FULL})


@dataclass(frozen=True)
class Material:
    """What every variant is trained on, and for how long; `settings` is the recipe's part `mask`, `size` the full model's, `begin` the
    weights it begins with (None: untrained)."""

    shapes: list[Shape]
    boxes: Boxes
    words: Words
    settings: dict[str, Any]
    size: MaskNetworkSize
    steps: int
    seed: int
    models: dict[str, ShapeModel]
    begin: dict[str, Tensor] | None = None

    @classmethod
    def prepared(
        cls, recipe: dict[str, Any], dataset: Dataset, cache: Path, steps: int, seed: int, begin: dict[str, Tensor] | None = None
    ) -> Material:
        """From a recipe and a data set; what `cache` holds already (of an earlier training, say) is not prepared again."""
        shapes = prepare.prepared_shapes(dataset, recipe["train"], recipe, cache, variants=recipe["shapes"]["variants"])
        if other := sorted({s.structure for s in shapes} - set(recipe["structures"])):
            raise BadRequest(f"{cache} holds shapes of {other[0]}, which the recipe has not.", "Name a folder of the same recipe.")
        ranges = prepare.prepared_ranges(recipe, cache)
        words = prepare.prepared_words(shapes, recipe["train"], cache)
        own = dict(recipe["mask"])
        # no validation in between; one worker at most, because the batches come in order
        own |= {"steps": steps, "steps_per_epoch": min(own["steps_per_epoch"], steps), "check_every": NEVER}
        own |= {"workers": min(1, own.get("workers", 1))}
        boxes = prepare.make_boxes(shapes, recipe, ranges)
        models = fit_shape_models(shapes, boxes, seed)
        return cls(shapes, boxes, words, own, mask_size(recipe), steps, seed, models, begin)

    def sized(self, name: str) -> MaskNetworkSize:
        """The architecture of a variant."""
        return replace(self.size, without=tuple(sorted({*self.size.without, *VARIANTS[name]})))

    def key(self, name: str) -> dict[str, Any]:
        """What a trained variant must have been made of to be this one."""
        used = {k: v for k, v in self.settings.items() if k not in ("workers", "check_every", "checks", "minutes")}
        made_of: dict[str, Any] = {"settings": used, "boxes": self.boxes.to_dict(), "sentences": sorted(self.words)}
        made_of["shapes"] = [(s.case, s.structure, len(s.variants)) for s in self.shapes]
        made_of["begin"] = None if self.begin is None else hashlib.sha256(save(self.begin)).hexdigest()
        digest = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()
        return _as_json({"network": self.sized(name).to_dict(), "steps": self.steps, "seed": self.seed, "made_of": digest})


class Ordered(Endless):
    """Batches (number, target, condition) by the number of the step, from `first` on; `epoch` of them are one epoch."""

    def __init__(self, material: Material) -> None:
        self.material, self.first, self.epoch = material, 0, material.settings["steps_per_epoch"]

    def __iter__(self) -> Iterator[Numbered]:
        number = self.first
        self.first += self.epoch  # the loop asks for a new iterator every epoch
        while True:
            yield number, *self.batch(number)
            number += 1

    def batch(self, number: int) -> tuple[Tensor, ConditionBatch]:
        """The batch of one step, whatever was drawn before."""
        m = self.material
        batches = MaskBatches(m.shapes, m.boxes, m.words, m.settings, m.seed, m.models)
        batches.leg = number  # each step draws as a leg of its own would
        return next(iter(batches))


def start(size: MaskNetworkSize, seed: int, begin: dict[str, Tensor] | None = None) -> MaskNetwork:
    """A network that begins with the full model's weights wherever both have them: with `begin`, or untrained.

    Raises BadRequest when `begin` is of another architecture.
    """
    torch.manual_seed(seed)
    whole = MaskNetwork(replace(size, without=()))
    if begin is not None:
        try:
            whole.load_state_dict(begin)
        except RuntimeError as error:
            reason = "The weights to begin with are not of the recipe's mask model."
            raise BadRequest(reason, "Name a bundle that was trained with this recipe.") from error
    full = whole.state_dict()
    torch.manual_seed(seed)
    net = MaskNetwork(size)
    shared = {k: full[k] for k, v in net.state_dict().items() if k in full and full[k].shape == v.shape}
    net.load_state_dict(shared, strict=False)
    return net


class VariantStage(MaskStage):
    """The mask stage for a number of steps, each with its own batch and noise."""

    def __init__(self, material: Material, name: str, out: Path) -> None:
        size = material.sized(name)
        super().__init__(material.settings, out, 1.0, size, [])
        self.net, self.batches, self.seed = start(size, material.seed, material.begin), Ordered(material), material.seed
        self.earlier = 0.0  # seconds before a resume

    def seconds(self) -> float:
        """Of training, also before an interruption."""
        return self.earlier + time.monotonic() - self.started

    def on_train_batch_start(self, batch: Numbered, index: int) -> int | None:
        """Seed the noise by the step; a run that was interrupted after its last step takes no further one."""
        if self.progress() >= 1:
            self.trainer.should_stop = True
            return -1
        torch.manual_seed(int(np.random.SeedSequence([self.seed, self.global_step]).generate_state(1)[0]))
        return None

    def training_step(self, batch: Numbered, index: int) -> Tensor:
        """One step, with the batch that belongs to it."""
        number, target, condition = batch
        assert number == self.global_step, f"batch {number} came in step {self.global_step}"
        return super().training_step((target, condition), index)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keeps the time."""
        checkpoint["seconds"] = self.seconds()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Goes on with the time and the batches."""
        self.earlier, self.batches.first = checkpoint["seconds"], checkpoint["global_step"]


def train_variant(
    name: str, material: Material, out: Path, *, resume: bool, device: str, say: Callable[[str], None] = print
) -> dict[str, Any]:
    """Train a variant in the folder `out`; what its `trained.json` holds (`key`, `weights` (SHA-256), `parameters`, `steps`, `seconds`,
    `seed`, `device`, `torch`).

    With `resume`, a finished training of the same is kept, and one that was begun goes on. Raises Cancelled when it was stopped.
    """
    key = material.key(name)
    if resume and (done := _finished(out, key)):
        say(f"{name}: trained already, {done['steps']} steps")
        return done
    going_on = resume and read_json(out / BEGUN) == key
    out.mkdir(parents=True, exist_ok=True)
    (out / TRAINED).unlink(missing_ok=True)
    if not going_on:
        for old in out.glob("*.ckpt"):  # else the new ones would stand beside them under other names
            old.unlink()
        write_json(out / BEGUN, key)
    say(f"{name}: {'going on with' if going_on else 'training'} {material.steps} steps")
    stage = VariantStage(material, name, out)
    path = fit(stage, stage.batches, out, resume=going_on, device=device, seed=material.seed)
    steps = int(stage.trainer.global_step)
    if steps < material.steps:
        raise Cancelled(f"The training of '{name}' was stopped after {steps} of {material.steps} steps.", "Go on with --resume.")
    facts = {"variant": name, "steps": steps, "seconds": round(stage.seconds(), 1), "seed": material.seed}
    facts |= {"parameters": sum(p.numel() for p in stage.net.parameters()), "weights": file_digest(path)}
    record = {**facts, "device": device, "torch": str(torch.__version__), "key": key}
    write_json(out / TRAINED, record)
    return record


def load_variant(folder: Path) -> MaskNetwork:
    """The network of a trained variant."""
    record = json.loads((folder / TRAINED).read_text(encoding="utf-8"))
    net = MaskNetwork(MaskNetworkSize.from_dict(record["key"]["network"]))
    net.load_state_dict(load_file(folder / WEIGHTS))
    return net


def _finished(folder: Path, key: dict[str, Any]) -> dict[str, Any] | None:
    """The record of a whole training with that key."""
    record = read_json(folder / TRAINED)
    if not isinstance(record, dict) or record.get("key") != key or not (folder / WEIGHTS).is_file():
        return None
    return record if file_digest(folder / WEIGHTS) == record.get("weights") else None


def read_json(path: Path) -> Any:
    """What a file holds; None where there is none, or no JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _as_json(value: dict[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(value))


def write_json(path: Path, value: Any) -> None:
    """Write a file whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)
