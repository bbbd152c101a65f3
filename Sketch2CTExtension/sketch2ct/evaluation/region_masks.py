"""Whole regions from text alone: are they anatomy, do they look like real ones, do they do what the text says?

    validity    the share of structures of each map that lie in the training cases' range of volume and position; `told` (with words),
                `silent` (without), `gaussian` (the baseline), `real` (the contoured structures of the unseen cases)
    fid         see `region_facts`: `made` (silent), `gaussian`, `floor` (unseen real cases), and `ratio`, made to gaussian
    obedience   see `region_statements`

The texts say of one map what is true of an unseen case, and nothing of it is given but the words. The baseline hears no words, so it is
compared with what is made without any.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from ..data.nnunet import Dataset
from ..describe import Facts, Ranges
from ..describe.region import Statement, statements
from ..describe.relations import Pair
from ..generation import MaskCondition, MaskGenerator, Progress
from ..geometry import Grid
from ..imaging import LabelVolume
from . import metrics, region_facts, region_statements
from .case import seeds, torch_rng
from .ct import frame_for, on_frame
from .region_validity import RegionLimits

STATEMENTS = 4  # of a text
REFERENCE = 100  # training cases that are compared with, at most


@dataclass
class RegionKnown:
    """What a bundle knows of the region: its structures, the ranges of their facts, which pairs vary, and the limits."""

    structures: tuple[str, ...]
    ranges: dict[str, Ranges]
    pairs: tuple[Pair, ...]
    limits: RegionLimits
    frame: Grid
    metadata: dict[str, Any]

    @classmethod
    def of(cls, metadata: dict[str, Any]) -> RegionKnown:
        """From a bundle's metadata."""
        own, placement = metadata["region"], {name: (p[0], p[1], p[2]) for name, p in metadata["placement"].items()}
        ranges = {name: Ranges.from_dict(r) for name, r in metadata["ranges"].items()}
        shape, spacing = metadata["frame"]["shape"], metadata["frame"]["spacing"]
        frame = Grid.centred((0, 0, 0), spacing, (shape[0], shape[1], shape[2]))
        pairs, limits = tuple(Pair(**pair) for pair in own["pairs"]), RegionLimits.from_dict(own["limits"], placement)
        return cls(tuple(metadata["structures"]), ranges, pairs, limits, frame, metadata)


@dataclass
class Sample:
    """One map from text alone, measured: `valid` structure -> in range, `facts`, and `seconds`."""

    valid: dict[str, bool]
    facts: dict[str, Facts]
    seconds: float = 0.0
    verdicts: list[region_statements.Verdict] = field(default_factory=list)
    text: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        said = [[v.kind, v.what, v.structure, v.followed] for v in self.verdicts]
        return {"text": self.text, "valid": self.valid, "verdicts": said, "seconds": round(self.seconds, 3)}


def real(dataset: Dataset, case: str, known: RegionKnown) -> Sample:
    """The contoured structures of a case, on the bundle's frame."""
    labels, listed = dataset.labels(case), dataset.labelled(case)
    names = [name for name in known.structures if name in listed and labels.has(name)]
    on_grid = on_frame(labels, frame_for(labels, known.metadata), list(known.structures))
    facts = region_facts.facts_of(on_grid, names)
    return Sample({name: valid for name, valid in known.limits.judge(on_grid).items() if name in facts}, facts)


def told(cases: Sequence[Mapping[str, Facts]], known: RegionKnown, count: int, seed: int) -> list[list[Statement]]:
    """What is said of each of so many maps: STATEMENTS that are true of one of the cases, each in its turn."""
    found = []
    for n in range(count):
        facts = {name: own for name, own in cases[n % len(cases)].items() if name in known.ranges}
        rng = np.random.default_rng(seeds(seed, "region text", str(n)))
        found.append(statements(facts, known.ranges, rng, count=STATEMENTS, pairs=known.pairs))
    return found


def make(generator: MaskGenerator, known: RegionKnown, text: str, seed: int, *names: str) -> tuple[LabelVolume, float]:
    """One map from text alone on the bundle's frame, and the seconds it took."""
    start = time.perf_counter()
    with torch.no_grad():
        labels = generator.generate(MaskCondition(known.structures, (), text, known.frame), torch_rng(seed, *names), Progress())
    return labels, time.perf_counter() - start


def measure(
    dataset: Dataset,
    cases: Sequence[str],
    generator: MaskGenerator,
    gaussian: MaskGenerator | None,
    known: RegionKnown,
    count: int,
    seed: int,
    say: Callable[[str], None] = lambda text: None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """`count` maps with words, as many without, and as many of the baseline: the summary, and every single one as JSON."""
    unseen = [sample for sample in (real(dataset, case, known) for case in cases) if sample.facts]
    training = [case for case in dataset.cases("Tr") if case not in cases] if "Tr" in dataset.splits() else []
    reference = [real(dataset, case, known) for case in training[:REFERENCE]]
    groups: dict[str, list[Sample]] = {"told": [], "silent": [], "gaussian": []}
    for n, said in enumerate(told([s.facts for s in unseen], known, count, seed) if unseen else []):
        text = " ".join(statement.text for statement in said)
        own = _measured(*make(generator, known, text, seed, "region", "told", str(n)), known)
        own.text, own.verdicts = text, [v for s in said for v in region_statements.judge(s, own.facts, known.ranges)]
        groups["told"].append(own)
        for name, other in (("silent", generator), ("gaussian", gaussian)):
            if other is not None:
                groups[name].append(_measured(*make(other, known, "", seed, "region", name, str(n)), known))
        valid = np.mean([np.mean(list(s.valid.values())) for s in groups["told"]])
        say(f"Regions {n + 1}/{count}: {valid:.0%} of the structures in range so far")
    groups = {name: own for name, own in groups.items() if own}
    return _summary(groups, unseen, reference, known, seed), {name: [s.to_dict() for s in own] for name, own in groups.items()}


def _measured(labels: LabelVolume, seconds: float, known: RegionKnown) -> Sample:
    return Sample(known.limits.judge(labels), region_facts.facts_of(labels, known.structures), seconds)


def _summary(
    groups: dict[str, list[Sample]], unseen: list[Sample], reference: list[Sample], known: RegionKnown, seed: int
) -> dict[str, Any]:
    def looks(samples: list[Sample], *, whole: bool) -> list[region_facts.Features]:
        found = [region_facts.features(s.facts, known.ranges, known.limits.placement) for s in samples]
        return [region_facts.with_missing(own, known.structures) for own in found] if whole else found

    sets = {"made": looks(groups.get("silent", []), whole=True), "gaussian": looks(groups.get("gaussian", []), whole=True)}
    sets = {name: own for name, own in (sets | {"floor": looks(unseen, whole=False)}).items() if own}
    compared = bool(reference) and bool(sets)
    fid = region_facts.distances(sets, looks(reference, whole=False), known.structures, seed) if compared else {}
    return {
        "validity": {name: _validity(own, seed) for name, own in (groups | {"real": unseen}).items()},
        "fid": {**fid, "features": region_facts.NAME} if fid else {},
        "obedience": region_statements.summarise([s.verdicts for s in groups.get("told", [])], seed),
        "seconds": metrics.summary([s.seconds for s in groups.get("told", [])], seed),
    }


def _validity(samples: list[Sample], seed: int) -> dict[str, Any]:
    return metrics.summary([float(np.mean(list(s.valid.values()))) for s in samples if s.valid], seed)
