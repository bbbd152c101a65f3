"""Everything that is measured on generated CTs, case by case, against the real CT of the case and the training scans.

Summary: `obedience` (see obedience_ct), `tissue` (tissue), `noise`, `edges`, `continuity` (texture; each figure as `generated`, `real`
and `ratio`), `fid` and `diversity` (realism), `neighbours` (neighbours_ct), `segmenter` (what it was trained on) and `counts`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from ..data.nnunet import Dataset
from ..generation import Progress, VolumeGenerator
from . import ct, neighbours_ct, obedience_ct, paired, realism, texture, tissue
from .case import torch_rng
from .neighbours_ct import Signature
from .paired import Placed
from .realism import Features, FeatureSource, SegmenterFeatures
from .report import plain
from .segmenter import SegmentsCT

TEXTURE = {
    "noise": ("patches", "noise_sd", *(f"nps_{band}" for band in range(texture.BANDS))),
    "edges": ("skin_width_mm", "skin_hu_per_mm", "bone_width_mm", "bone_hu_per_mm"),
    "continuity": ("z_correlation", "z_step_hu", "z_worst_step", "z_to_plane"),
}


@dataclass
class Measured:
    """What was measured on one CT: `dice` by structure, `tissue`, `texture`, `nearest` training scan."""

    dice: dict[str, float]
    tissue: dict[str, Any]
    texture: dict[str, float]
    nearest: dict[str, Any] = field(default_factory=dict)


@dataclass
class CaseFigures:
    """One case: `record` as `ct.compare` gives it, both CTs measured, and MS-SSIM between CTs of its one label map."""

    case: str
    record: ct.CTRecord
    made: Measured
    real: Measured
    samples: list[float]

    def to_dict(self) -> dict[str, Any]:
        """As JSON, NaN as None."""
        sides = {"generated": vars(self.made), "real": vars(self.real)}
        return plain({"case": self.case, "samples": self.samples, **sides})


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def measure_ct(
    dataset: Dataset,
    cases: list[str],
    metadata: dict[str, Any],
    generator: VolumeGenerator,
    segmenter: SegmentsCT,
    seed: int,
    *,
    samples: int = 2,
    training: list[str] | None = None,
    features: FeatureSource | None = None,
    shown: Callable[[ct.Comparison], None] | None = None,
    say: Callable[[str], None] = _say,
) -> tuple[list[CaseFigures], dict[str, Any]]:
    """Generate a CT of every case from its contoured structures and measure it; one entry a case, and the summary.

    `samples` CTs of each map are compared with one another (1: no diversity of one mask); all else is measured on the first, which is
    the one that `ct.compare` makes. `training` names the reference scans (default: the split Tr, without the cases measured; [] leaves
    Fréchet distance and neighbours out). `features` are the segmenter's unless given; `shown` gets every comparison, to draw it.
    Raises BadRequest when files are missing or damaged.
    """
    source = features or SegmenterFeatures(segmenter)
    if training is None:
        training = dataset.cases("Tr") if "Tr" in dataset.splits() else []
    reference, scans = _reference(dataset, [case for case in training if case not in cases], metadata, source, say)
    figures: list[CaseFigures] = []
    pairs: list[tuple[Placed, Placed]] = []
    looks: list[tuple[Features, Features]] = []
    for number, case in enumerate(cases, start=1):
        record, comparison = ct.compare(case, dataset.image(case), dataset.labels(case), generator, metadata, seed)
        if shown:
            shown(comparison)
        made, real = paired.both(comparison)
        measured = [_measure(part, segmenter, scans) for part in (made, real)]
        further = [_sample(comparison, generator, seed, n) for n in range(1, samples)]
        figures.append(CaseFigures(case, record, measured[0], measured[1], _alike([made, *further])))
        looks.append((source(made), source(real)))
        pairs.append((made, real))
        say(f"CT {number}/{len(cases)} {case}: {record.seconds:.1f} s, Dice {_mean(measured[0].dice)} (real {_mean(measured[1].dice)})")
    across = realism.neighbours_of([made for made, _ in pairs], [real for _, real in pairs])
    summary = summarise(figures, seed)
    summary["fid"] = realism.fid([made for made, _ in looks], [real for _, real in looks], reference, seed) | {"features": source.name}
    summary["diversity"] = realism.diversity([f.samples for f in figures], across, seed)
    summary["segmenter"] = segmenter.about()
    summary["counts"] = {"cases": len(cases), "training": len(scans), "samples": samples, "seed": seed}
    return figures, summary


def _reference(
    dataset: Dataset, cases: list[str], metadata: dict[str, Any], source: FeatureSource, say: Callable[[str], None]
) -> tuple[list[Features], list[Signature]]:
    """Features and signatures of the training scans; the scans themselves are not kept."""
    looks, scans = [], []
    for number, case in enumerate(cases, start=1):
        placed = paired.place(dataset, case, metadata)
        looks.append(source(placed))
        scans.append(Signature.of(placed))
        if number % 20 == 0 or number == len(cases):
            say(f"Training scans to compare with: {number}/{len(cases)}")
    return looks, scans


def _measure(placed: Placed, segmenter: SegmentsCT, scans: list[Signature]) -> Measured:
    figures = {
        **texture.noise(placed.ct, placed.body),
        **texture.edges(placed.ct, placed.body, placed.known),
        **texture.continuity(placed.ct, placed.body),
    }
    near = neighbours_ct.nearest(Signature.of(placed), scans) if scans else {}
    return Measured(obedience_ct.dice_of(segmenter, placed), tissue.measure(placed), figures, near)


def _sample(comparison: ct.Comparison, generator: VolumeGenerator, seed: int, number: int) -> Placed:
    """A further CT of the same label map."""
    c = comparison
    with torch.no_grad():
        made = generator.generate(c.labels, "", torch_rng(seed, c.case, "ct", f"sample {number}"), Progress())
    return Placed.of(c.case, made, c.known, c.labels)


def _alike(made: list[Placed]) -> list[float]:
    """MS-SSIM of every pair."""
    return [realism.alike(a, b) for n, a in enumerate(made) for b in made[n + 1 :]]


def _mean(dice: dict[str, float]) -> str:
    return f"{np.mean(list(dice.values())):.3f}" if dice else "-"


def summarise(figures: list[CaseFigures], seed: int) -> dict[str, Any]:
    """What follows from the cases one by one; see the head of this module for the keys."""
    found: dict[str, Any] = {
        "obedience": obedience_ct.summarise([(f.made.dice, f.real.dice) for f in figures], seed),
        "tissue": tissue.summarise([(f.made.tissue, f.real.tissue) for f in figures], seed),
    }
    for group, names in TEXTURE.items():
        found[group] = {n: paired.beside([f.made.texture[n] for f in figures], [f.real.texture[n] for f in figures], seed) for n in names}
    near = [(f.made.nearest, f.real.nearest) for f in figures if f.made.nearest]
    found["neighbours"] = neighbours_ct.summarise(near, [f.case for f in figures if f.made.nearest], seed)
    return found
