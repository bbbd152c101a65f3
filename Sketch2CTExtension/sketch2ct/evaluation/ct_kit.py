"""Everything that is measured on generated CTs, case by case, against the real CT of the case and the training scans.

Summary: `obedience` (see obedience_ct), `tissue` (tissue), `noise`, `edges`, `continuity` (texture; each figure as `generated`, `real`
and `ratio`), `fid` and `diversity` (realism), `neighbours` (neighbours_ct), `segmenter` (what it was trained on) and `counts`.
What was not measured is `{}`: obedience without a segmenter, `fid` without features or training scans, `neighbours` without the latter.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
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
VARIED = 20  # cases, the first ones, whose label map is given to several CTs
PER_CASE, FEWEST = 6, 40  # training scans to compare with: a look at few cases shall not wait for all


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


def training_scans(dataset: Dataset, cases: list[str]) -> list[str]:
    """The training cases that so many measured ones are compared with: PER_CASE each, FEWEST at least, or all there are."""
    known = dataset.cases("Tr") if "Tr" in dataset.splits() else []
    return [case for case in known if case not in cases][: max(FEWEST, PER_CASE * len(cases))]


def measure_ct(
    dataset: Dataset,
    cases: list[str],
    metadata: dict[str, Any],
    generator: VolumeGenerator,
    segmenter: SegmentsCT | None,
    seed: int,
    *,
    samples: int = 2,
    training: list[str] | None = None,
    features: FeatureSource | None = None,
    shown: Callable[[ct.Comparison], None] | None = None,
    say: Callable[[str], None] = _say,
    timed: Callable[[str], AbstractContextManager[Any]] = nullcontext,
) -> tuple[list[CaseFigures], dict[str, Any]]:
    """Generate a CT of every case from its contoured structures and measure it; one entry a case, and the summary.

    `samples` CTs of each map (of the first VARIED cases) are compared with one another (1: no diversity of one mask); all else is
    measured on the first, which is the one that `ct.compare` makes. `training` names the reference scans (default: see
    `training_scans`; [] leaves Fréchet distance and neighbours out). `features` are the segmenter's unless given; `shown` gets every
    comparison, to draw it; `timed` takes the time of the parts `ct` and `realism`. Raises BadRequest when files are missing or damaged.
    """
    source = features or (SegmenterFeatures(segmenter) if segmenter else None)
    training = training_scans(dataset, cases) if training is None else [case for case in training if case not in cases]
    with timed("realism"):
        others = _Others.of(dataset, training, metadata, source, say)
    figures: list[CaseFigures] = []
    for number, case in enumerate(cases, start=1):
        with timed("ct"):
            record, comparison = ct.compare(case, dataset.image(case), dataset.labels(case), generator, metadata, seed)
            if shown:
                shown(comparison)
            pair = paired.both(comparison)
            made, real = (_measure(side, segmenter) for side in pair)
        with timed("realism"):
            made.nearest, real.nearest = others.beside(*pair)
            further = [_sample(comparison, generator, seed, n) for n in range(1, samples if number <= VARIED else 1)]
            figures.append(CaseFigures(case, record, made, real, _alike([pair[0], *further])))
        say(f"CT {number}/{len(cases)} {case}: {record.seconds:.1f} s{_seen(made, real)}")
    summary = summarise(figures, seed)
    with timed("realism"):
        summary["fid"] = others.fid(seed)
    summary["diversity"] = realism.diversity([f.samples for f in figures], others.alike, seed)
    summary["segmenter"] = segmenter.about() if segmenter else {}
    held = len(dataset.cases("Tr")) if "Tr" in dataset.splits() else 0
    summary["counts"] = {"cases": len(cases), "training": len(training), "training_held": held, "samples": samples, "seed": seed}
    return figures, summary


@dataclass
class _Others:
    """The CTs of all cases beside the training scans (`reference` features, `scans`), and beside one another (`alike`, MS-SSIM of each
    with the next one, generated and real). Of the images themselves only the last pair is kept."""

    source: FeatureSource | None
    reference: list[Features] = field(default_factory=list)
    scans: list[Signature] = field(default_factory=list)
    looks: list[tuple[Features, Features]] = field(default_factory=list)
    alike: list[tuple[float, float]] = field(default_factory=list)
    last: tuple[Placed, Placed] | None = None

    @classmethod
    def of(
        cls, dataset: Dataset, cases: list[str], metadata: dict[str, Any], source: FeatureSource | None, say: Callable[[str], None]
    ) -> _Others:
        """The training scans of the cases, looked at one after the other."""
        found = cls(source)
        for number, case in enumerate(cases, start=1):
            placed = paired.place(dataset, case, metadata)
            found.scans.append(Signature.of(placed))
            if source:
                found.reference.append(source(placed))
            if number % 20 == 0 or number == len(cases):
                say(f"Training scans to compare with: {number}/{len(cases)}")
        return found

    def beside(self, made: Placed, real: Placed) -> tuple[dict[str, Any], dict[str, Any]]:
        """Takes in both CTs of a case; the nearest training scan of each, `{}` when there is none."""
        if self.source and self.reference:
            self.looks.append((self.source(made), self.source(real)))
        if self.last:
            self.alike += realism.neighbours_of([self.last[0], made], [self.last[1], real])
        self.last = made, real
        if not self.scans:
            return {}, {}
        return neighbours_ct.nearest(Signature.of(made), self.scans), neighbours_ct.nearest(Signature.of(real), self.scans)

    def fid(self, seed: int) -> dict[str, Any]:
        """As `realism.fid`, with the name of the `features`; `{}` without them or without training scans."""
        if not self.looks or not self.source:
            return {}
        sides = [list(side) for side in zip(*self.looks, strict=True)]
        return realism.fid(sides[0], sides[1], self.reference, seed) | {"features": self.source.name}


def _measure(placed: Placed, segmenter: SegmentsCT | None) -> Measured:
    figures = {
        **texture.noise(placed.ct, placed.body),
        **texture.edges(placed.ct, placed.body, placed.known),
        **texture.continuity(placed.ct, placed.body),
    }
    return Measured(obedience_ct.dice_of(segmenter, placed) if segmenter else {}, tissue.measure(placed), figures)


def _sample(comparison: ct.Comparison, generator: VolumeGenerator, seed: int, number: int) -> Placed:
    """A further CT of the same label map."""
    c = comparison
    with torch.no_grad():
        made = generator.generate(c.labels, "", torch_rng(seed, c.case, "ct", f"sample {number}"), Progress())
    return Placed.of(c.case, made, c.known, c.labels)


def _alike(made: list[Placed]) -> list[float]:
    """MS-SSIM of every pair."""
    return [realism.alike(a, b) for n, a in enumerate(made) for b in made[n + 1 :]]


def _seen(made: Measured, real: Measured) -> str:
    """The mean Dice of a generated and a real CT, in words; nothing without a segmenter."""
    if not made.dice or not real.dice:
        return ""
    means = [np.mean(list(side.dice.values())) for side in (made, real)]
    return f", the segmenter's Dice {means[0]:.3f}, on the real CT {means[1]:.3f}"


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
