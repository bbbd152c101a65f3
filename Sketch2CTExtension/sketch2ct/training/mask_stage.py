"""Training of the mask model: which boxes, sketches and words it sees, and what it is asked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from .. import describe
from ..conditioning.batch import collate, condition_arrays
from ..data.shapes import Outline, Shape, Variant, sample
from ..diffusion import flow
from ..geometry import polyline_length
from ..masks.boxes import TRUNCATION_MM, Boxes
from ..masks.shape_model import ShapeModel
from ..networks.mask_unet import ConditionBatch, MaskNetwork, MaskNetworkSize
from ..request import MIN_STROKE_MM, Sketch
from ..sketching import broken, hand
from .loop import Endless, Stage

Words = dict[str, NDArray[np.float16]]  # sentence -> token features (T, 384)


@dataclass(frozen=True)
class Drops:
    """How often each condition is left out, so that any of them, or none, also works."""

    sketch: float = 0.12
    text: float = 0.15
    facts: float = 0.25  # of the sentences that are given: their numbers are not handed over, the words must do


@dataclass
class Example:
    """One training box, as numpy arrays named as in `ConditionBatch`, and its target (1, i, j, k)."""

    target: NDArray[np.float32]
    arrays: dict[str, NDArray]


def hand_drawn(outline: Outline, structure: str, rng: np.random.Generator) -> Sketch | None:
    """An outline drawn by a hand of random care; None when nothing drawable is left."""
    strength = float(rng.choice([0.0, 0.5, 1.0, 1.5, 2.5], p=[0.1, 0.25, 0.4, 0.15, 0.1]))
    strokes = [hand(np.asarray(line, dtype=np.float64), outline.plane, rng, strength) for line in outline.lines]
    if rng.random() < 0.1:
        strokes = [piece for stroke in strokes for piece in broken(stroke, rng, int(rng.integers(2, 4)))]
    strokes = [s for s in strokes if len(s) >= 3 and polyline_length(s) >= MIN_STROKE_MM]
    return Sketch(structure, outline.plane, strokes, True, outline.meaning) if strokes else None


def choose_sketches(variant: Variant, rng: np.random.Generator) -> list[Sketch]:
    """One sketch (most often the largest section), sometimes two or three."""
    count = int(rng.choice([1, 2, 3], p=[0.72, 0.2, 0.08]))
    others = [o for o in variant.outlines if not o.best]
    chosen = [o for o in variant.outlines if o.best] if rng.random() < 0.6 or not others else []
    if others:
        more = rng.permutation(len(others))[: count - len(chosen)]
        chosen += [others[n] for n in more]
    drawn = [hand_drawn(o, variant.structure, rng) for o in chosen[:count]]
    return [s for s in drawn if s is not None]


def make_example(
    shape: Shape,
    variant: Variant,
    boxes: Boxes,
    words: Words,
    rng: np.random.Generator,
    drops: Drops,
    models: dict[str, ShapeModel] | None = None,
) -> Example:
    """One box with its condition: placed as it will be in use, moved a little."""
    sketches = [] if rng.random() < drops.sketch else choose_sketches(variant, rng)
    grid = boxes.grid(variant.structure, placed(variant, boxes, sketches, rng))
    target = np.clip(sample(shape.distance, shape.grid, grid, variant.transform) / TRUNCATION_MM, -1, 1)
    text = "" if rng.random() < drops.text else variant.texts[0 if rng.random() < 0.3 else int(rng.integers(1, len(variant.texts)))]
    facts = np.zeros(2 * len(describe.FACTS), np.float32)
    if text and rng.random() >= drops.facts:
        facts = np.concatenate(describe.read(text).vector(boxes.ranges[variant.structure]))
    said, model = words[text] if text else np.zeros((0, 384), np.float16), (models or {}).get(variant.structure)
    arrays = condition_arrays(sketches, grid, said, facts, boxes.code(variant.structure), model)
    return Example(target[None].astype(np.float32), arrays)


def fit_shape_models(shapes: list[Shape], boxes: Boxes, seed: int) -> dict[str, ShapeModel]:
    """The shape model of every structure, over all variants, each in the box that some sketches of it would place."""
    rng, found = np.random.default_rng(seed), {}
    for name in boxes.names:
        distances, facts = [], []
        for shape, variant in ((s, v) for s in shapes for v in s.variants if v.structure == name):
            sketches = [] if rng.random() < Drops.sketch else choose_sketches(variant, rng)
            grid = boxes.grid(name, placed(variant, boxes, sketches, rng))
            distances.append(np.clip(sample(shape.distance, shape.grid, grid, variant.transform) / TRUNCATION_MM, -1, 1))
            facts.append(describe.vector_of(variant.facts, boxes.ranges[name])[0])
        if len(distances) > 1:
            found[name] = ShapeModel.fit(np.stack(distances), np.stack(facts))
    return found


def placed(variant: Variant, boxes: Boxes, sketches: list[Sketch], rng: np.random.Generator) -> NDArray[np.float64]:
    """Where the box of an example lies (RAS mm): as it will in use, moved a little."""
    centre = boxes.centre(variant.structure, sketches) if sketches else np.asarray(variant.facts.centroid_ras)
    return centre + rng.normal(0, 3.0, 3)


class MaskBatches(Endless):
    """Endless batches of (target, condition); a batch holds boxes of one shape."""

    def __init__(
        self,
        shapes: list[Shape],
        boxes: Boxes,
        words: Words,
        settings: dict[str, Any],
        seed: int,
        models: dict[str, ShapeModel] | None = None,
    ) -> None:
        self.shapes, self.boxes, self.words, self.settings, self.seed, self.models = shapes, boxes, words, settings, seed, models
        self.groups: dict[tuple, list[int]] = {}
        for n, shape in enumerate(shapes):
            self.groups.setdefault(boxes.shape_of(shape.structure), []).append(n)

    def __iter__(self) -> Iterator[tuple[Tensor, ConditionBatch]]:
        rng = self.rng()
        torch.set_num_threads(1)
        keys = sorted(self.groups)
        weight = {s: self.settings["weights"].get(s, 1.0) for s in {shape.structure for shape in self.shapes}}
        share = [np.array([weight[self.shapes[n].structure] for n in self.groups[key]]) for key in keys]
        total = np.array([s.sum() for s in share])
        drops = Drops(**self.settings.get("drops", {}))
        while True:
            g = int(rng.choice(len(keys), p=total / total.sum()))
            picks = rng.choice(self.groups[keys[g]], self.settings["batch"], p=share[g] / total[g])
            examples = []
            for n in picks:
                shape = self.shapes[n]
                own = rng.random() < 0.35
                variant = shape.variants[0 if own else int(rng.integers(len(shape.variants)))]
                examples.append(make_example(shape, variant, self.boxes, self.words, rng, drops, self.models))
            yield torch.from_numpy(np.stack([e.target for e in examples])), collate([e.arrays for e in examples])


class MaskStage(Stage):
    """Clean-sample regression at random times, with a soft Dice term that keeps small structures and their volume."""

    net: MaskNetwork

    def __init__(self, settings: dict[str, Any], out: Path, minutes: float, size: MaskNetworkSize, checks: list[Example]) -> None:
        super().__init__(settings, out, minutes)
        self.net = MaskNetwork(size)
        self.checks = checks

    def loss(self, batch: tuple[Tensor, ConditionBatch]) -> dict[str, Tensor]:
        """Mean squared error of the truncated distance + soft Dice of the masks."""
        target, condition = batch
        condition = condition.to(self.device)
        t = flow.training_times(len(target), device=self.device)
        t = torch.where(torch.rand_like(t) < 0.15, 1.0, t)
        clean = self.net(flow.mix(target, torch.randn_like(target), t), t * flow.SCALE, condition).float()
        square = functional.mse_loss(clean, target)
        dice = 1 - soft_dice(clean, target).mean()
        return {"loss": square + self.settings["dice_weight"] * dice, "square": square.detach(), "dice": dice.detach()}

    @torch.inference_mode()
    def check(self) -> dict[str, float]:
        """3D Dice in the box on fixed validation examples: the mean guess (1 step) and a drawn sample (6 steps)."""
        figures: dict[str, list[float]] = {}
        for n, example in enumerate(self.checks):
            condition = collate([example.arrays]).to(self.device)
            target = torch.from_numpy(example.target)[None].to(self.device)
            noise = torch.randn(target.shape, generator=torch.Generator().manual_seed(n)).to(self.device)
            for steps in (1, 6):

                def denoise(x: Tensor, t: Tensor, given: ConditionBatch = condition) -> Tensor:
                    return self.net(x, t, given).float()

                with torch.autocast(self.device.type, torch.bfloat16):
                    mask = flow.sample(denoise, noise, steps, lambda *_: None) > 0
                overlap = 2 * (mask & (target > 0)).sum() / (mask.sum() + (target > 0).sum()).clamp_min(1)
                figures.setdefault(f"dice_{steps}", []).append(float(overlap))
        return {key: float(np.mean(value)) for key, value in figures.items()}


def soft_dice(clean: Tensor, target: Tensor, sharpness: float = 8.0) -> Tensor:
    """Soft Dice (N,) of truncated signed distances (N, 1, i, j, k): a logistic of width about 1 mm stands for the mask."""
    a, b = torch.sigmoid(sharpness * clean), torch.sigmoid(sharpness * target)
    axes = (1, 2, 3, 4)
    return (2 * (a * b).sum(axes) + 1) / ((a * a).sum(axes) + (b * b).sum(axes) + 1)
