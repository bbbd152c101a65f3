"""The part of an evaluation that takes two bundles: one that makes single structures, and one that makes and completes whole regions.

Summary: `about` (the second bundle, how many maps), `masks` (see `region_masks`) and `pairings` (see `pairings`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ..bundle import Bundle
from ..errors import BadRequest
from ..generation import MaskGenerator, VolumeGenerator
from ..masks.gaussian import GaussianRegions
from . import ct_kit, pairings, region_masks
from .mask_parts import Run, say
from .paired import place as placed
from .realism import FeatureSource, SegmenterFeatures
from .region_masks import RegionKnown
from .segmenter import SegmentsCT

SAMPLES = 40


def measure_regions(
    run: Run,
    own: Bundle,
    around: Bundle,
    place: torch.device,
    load_masks: Callable[[str, Bundle, torch.device], MaskGenerator],
    load_volumes: Callable[[str, Bundle, torch.device], VolumeGenerator],
    segmenter: SegmentsCT | None = None,
    features: FeatureSource | None = None,
    *,
    gaussian: Path | None = None,
    samples: int = SAMPLES,
    ct_cases: int | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Measure regions of the bundle `around`, alone and around the masks of the bundle `own`: the summary, and every single map as JSON.

    `gaussian` is a folder of 'train-region-baseline'. Raises BadRequest when `around` makes no regions.
    """
    if "region" not in around.metadata:
        raise BadRequest(f"The bundle '{around.name}' makes single structures, no whole regions.", "Name a bundle of GuideGen.")
    known = RegionKnown.of(around.metadata)
    start = time.perf_counter()
    masks, regions = load_masks("sketch2ct", own, place), load_masks("guidegen", around, place)
    volumes = {f"{own.name}/sketch2ct": load_volumes("sketch2ct", own, place)}
    loaded = time.perf_counter() - start
    if "region_volume" in around.metadata:
        volumes[f"{around.name}/guidegen"] = load_volumes("guidegen", around, place)
    baseline = GaussianRegions.load(gaussian, place) if gaussian else None
    with run.part("regions"):
        found, singles = region_masks.measure(run.dataset, run.cases, regions, baseline, known, samples, run.seed, say)
    summary: dict[str, Any] = {"masks": found, "pairings": {}}
    if ct_cases != 0:
        source = features or (SegmenterFeatures(segmenter) if segmenter else None)
        with run.part("pairings"):
            reference = (
                [source(placed(run.dataset, c, run.metadata)) for c in ct_kit.training_scans(run.dataset, run.cases)] if source else []
            )
            makers = pairings.Makers(own, around, masks, regions, volumes)
            summary["pairings"] = pairings.measure(run, makers, known, segmenter, source, reference, ct_cases, loaded, say)
    about = {"bundle": {"name": around.name, "digest": around.digest}, "samples": samples, "baseline": baseline.about() if baseline else {}}
    return {"about": about, **summary}, singles
