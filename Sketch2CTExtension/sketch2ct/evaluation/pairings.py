"""Every mask generator with every volume generator: the CTs of the unseen cases, made by each pair, beside the real ones.

Ways to a label map, on the bundle's frame placed as the case lies:

    contours    the case's own contours, and what thresholds call body, bone and air on its CT: the volume generators alone
    single      one structure of the case, from its sketch and description, and nothing around it
    completed   the same mask, the rest of the region completed around it
    text        the whole region from the words of the case alone

Of each way and volume generator: `obedience`, the segmenter's Dice to the generated map beside that to the contours on the real CT, also
`by_structure`; `fid`, its distance to training scans and that of the real CTs; of `completed` also `fid_to_single`, its distance over that
of `single`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from ..bundle import Bundle
from ..data.derived import derive
from ..engine import complete, compose
from ..framing import Plan, label_order
from ..generation import MaskCondition, MaskGenerator, Progress, VolumeGenerator
from ..geometry import Grid
from ..imaging import LabelVolume
from ..masks.region_classes import RegionClasses
from ..pairing import Bundles
from ..request import GenerationRequest
from . import metrics, obedience_ct, realism
from .case import Question, seeds, torch_rng
from .ct import frame_for
from .mask_parts import Run
from .paired import Placed, place
from .realism import Features, FeatureSource
from .region_masks import RegionKnown, real, told
from .segmenter import SegmentsCT

WAYS = ("contours", "single", "completed", "text")


@dataclass
class Makers:
    """The generators to be paired, with the bundles of the mask and of the surroundings; volume generators by what they are called."""

    mask_bundle: Bundle
    region_bundle: Bundle
    masks: MaskGenerator
    regions: MaskGenerator
    volumes: Mapping[str, VolumeGenerator]

    @property
    def bundles(self) -> Bundles:
        """As a request with both would have them."""
        return Bundles(self.mask_bundle, self.region_bundle, self.mask_bundle)


@dataclass
class Found:
    """What one way and volume generator gave, one entry a case."""

    dice: list[tuple[dict[str, float], dict[str, float]]] = field(default_factory=list)
    looks: list[Features] = field(default_factory=list)


@dataclass
class Clock:
    """Seconds of every case, by what was done."""

    seconds: dict[str, list[float]] = field(default_factory=dict)

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Times a block."""
        start = time.perf_counter()
        yield
        self.seconds.setdefault(name, []).append(time.perf_counter() - start)


def measure(
    run: Run,
    makers: Makers,
    known: RegionKnown,
    segmenter: SegmentsCT | None,
    source: FeatureSource | None,
    reference: list[Features],
    cases: int | None,
    load_seconds: float,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """The summary over the first `cases`: `ways.<way>.<volume generator>`, `kept` (voxels of the user's structure, and how many of them
    changed), `validity` of completed maps, and `seconds` of a whole request, loading included."""
    found: dict[tuple[str, str], Found] = {}
    clock, kept, real_looks, valid = Clock(), [0, 0], list[Features](), list[float]()
    for number, (case, questions) in enumerate(run.questions(cases), start=1):
        if not questions:
            continue
        question = questions[(number - 1) % len(questions)]  # another structure in every case
        grid = frame_for(run.dataset.labels(case), run.metadata)
        placed = place(run.dataset, case, run.metadata)
        maps = {"contours": contours(placed, makers.region_bundle.metadata), **ways(run, makers, known, question, grid, clock)}
        given = maps["single"].mask(question.structure) if maps["single"].has(question.structure) else np.zeros(grid.shape, bool)
        after = maps["completed"].mask(question.structure) if given.any() else given
        kept = [kept[0] + int(given.sum()), kept[1] + int((given != after).sum())]
        valid.append(float(np.mean(list(known.limits.judge(maps["completed"]).values()))))
        if source and reference:
            real_looks.append(source(placed))
        true = obedience_ct.dice_of(segmenter, placed) if segmenter else {}
        for way, labels in maps.items():
            for name, generator in makers.volumes.items():
                own = found.setdefault((way, name), Found())
                with clock.of(f"{name} {way}"), torch.no_grad():
                    # the same noise for every way: they differ by their maps alone
                    ct = generator.generate(labels, question.description, torch_rng(run.seed, case, "pairing ct"), Progress())
                made = Placed.of(case, ct, placed.known, labels)
                if segmenter:
                    own.dice.append((obedience_ct.dice_of(segmenter, made), true))
                if source and reference:
                    own.looks.append(source(made))
        say(f"Pairings {number} {case}: {question.structure}")
    return {
        "ways": _summary(found, real_looks, reference, run.seed),
        "kept": {"voxels": kept[0], "changed": kept[1]},
        "validity": metrics.summary(valid, run.seed),
        "seconds": _seconds(clock, makers, load_seconds, run.seed),
    }


def contours(placed: Placed, metadata: dict[str, Any]) -> LabelVolume:
    """The contours of a case over the derived classes of its CT, as far as they are known to a bundle of whole regions."""
    classes = RegionClasses(tuple(metadata["derived"]), tuple(metadata["structures"]))
    drawn = {name: placed.labels.mask(name) for name in placed.labels.names.values() if placed.labels.has(name)}
    labels = classes.labels(derive(placed.ct) | drawn)
    return LabelVolume(labels, placed.labels.grid, {n: name for n, name in enumerate(classes.names) if n and (labels == n).any()})


def ways(run: Run, makers: Makers, known: RegionKnown, q: Question, grid: Grid, clock: Clock) -> dict[str, LabelVolume]:
    """The generated label maps among WAYS for a question, on `grid`."""
    request = GenerationRequest([q.sketch], q.description, bundle=makers.mask_bundle.name, surroundings=makers.region_bundle.name)
    request = request.with_changes(seed=int(seeds(run.seed, q.case, "pairing").generate_state(1)[0]))
    plan, order = Plan((q.structure,), grid, None), label_order(makers.mask_bundle.metadata, makers.region_bundle.metadata)
    with clock.of("mask"), torch.no_grad():
        condition = MaskCondition(plan.structures, (q.sketch,), q.description, grid)
        made = makers.masks.generate(condition, torch_rng(run.seed, q.case, q.structure, "pairing"), Progress())
        single = compose(made, plan, order)
    with clock.of("surroundings"), torch.no_grad():
        completed = complete(single, request, plan, makers.bundles, makers.regions, Progress())
    facts = real(run.dataset, q.case, known).facts
    said = told([facts], known, 1, request.seed)[0] if facts else []
    with clock.of("region"), torch.no_grad():
        whole = MaskCondition(known.structures, (), " ".join(s.text for s in said), grid)
        text = makers.regions.generate(whole, torch_rng(run.seed, q.case, "pairing text"), Progress())
    return {"single": single, "completed": completed, "text": compose(text, Plan(known.structures, grid, None), order)}


def _summary(
    found: dict[tuple[str, str], Found], real_looks: list[Features], reference: list[Features], seed: int
) -> dict[str, dict[str, Any]]:
    result: dict[str, dict[str, Any]] = {}
    sets = {pair: own.looks for pair, own in found.items() if own.looks} if reference else {}
    far = {pair: realism.distance(looks, reference, seed) for pair, looks in sets.items()}
    floor = realism.distance(real_looks, reference, seed) if far else None
    for (way, name), own in found.items():
        obeys = obedience_ct.summarise(own.dice, seed) if own.dice else {}
        overall = obeys.pop("overall", {})
        entry: dict[str, Any] = {"obedience": {**overall, "by_structure": obeys} if obeys else {}}
        there = far.get((way, name))
        entry["fid"] = realism.beside(there, floor)["mean"] if there and floor else {}
        single = far.get(("single", name))
        if way == "completed" and there and single:
            # the same patients by both ways, so the ratio of `fid` is that of the two distances
            entry["fid_to_single"] = realism.beside(there, single)["mean"]["ratio"]
        result.setdefault(way, {})[name] = entry
    return result


def _seconds(clock: Clock, makers: Makers, load_seconds: float, seed: int) -> dict[str, Any]:
    """Means of each stage, and `whole`: loading, mask, surroundings and CT of the completed map, by volume generator."""
    parts = {name: metrics.summary(values, seed) for name, values in clock.seconds.items()}
    stages = [np.array(clock.seconds.get(stage, [])) for stage in ("mask", "surroundings")]
    whole = {}
    for name in makers.volumes:
        ct = np.array(clock.seconds.get(f"{name} completed", []))
        whole[name] = metrics.summary(load_seconds + stages[0] + stages[1] + ct, seed)
    return {"load": round(load_seconds, 2), "stages": parts, "whole": whole}
