"""Request -> labels -> CT -> result folder. The only place that knows both stages."""

from __future__ import annotations

import gc
import hashlib
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from . import __version__, bundle, devices, framing, masks, pairing, results, volumes
from .anatomy import vocabulary
from .describe import region
from .errors import OutOfMemory, Sketch2CTError
from .generation import MaskCondition, MaskGenerator, Progress, VolumeGenerator
from .geometry import Grid
from .imaging import HU_MAX, HU_MIN, CTVolume, LabelVolume
from .metering import Meter
from .pairing import Bundles
from .quality import readout
from .request import NONE, WHOLE_REGION, GenerationRequest

# Shares of one sample's time: measured on two CPU cores over the test cases, mask 0.7 s, CT 5.7 s, warm; a whole region takes 17 s, whether
# it is asked for alone or around a mask.
WHOLE = 2.4
SHARES = {"load": 0.05, "mask": 0.11, "surroundings": WHOLE, "volume": 0.81, "write": 0.03}
_NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "bad allocation")


class Engine:
    """Runs requests; keeps the loaded generators, so that a second request with the same bundle starts at once."""

    def __init__(
        self,
        masks: Callable[[str, bundle.Bundle, torch.device], MaskGenerator] = masks.load,
        volumes: Callable[[str, bundle.Bundle, torch.device], VolumeGenerator] = volumes.load,
        bundles: Callable[[str], bundle.Bundle] = bundle.load,
    ) -> None:
        self._masks, self._volumes, self._bundles = masks, volumes, bundles
        self._loaded: dict[tuple[str, str, str, str], Any] = {}

    def generate(self, request: GenerationRequest, out: Path, progress: Progress | None = None, *, replace: bool = False) -> list[Path]:
        """Make the request's samples; the result folders: `out` itself, or `out/sample-001` and so on for several.

        `out` is complete or does not exist. Raises BadRequest, BundleMissing, BundleCorrupt, OutOfMemory, WriteFailed
        or Cancelled.
        """
        progress = progress or Progress()
        bundles = pairing.load(request, self._bundles)
        plan = bundles.plan(request)
        device = devices.choose(request.device)
        voxels = int(np.prod(plan.grid.shape)) * request.samples
        names = [f"sample-{n + 1:03d}" for n in range(request.samples)] if request.samples > 1 else ["."]
        started = time.monotonic()
        with results.staged(out, replace=replace, voxels=voxels) as folder, memory_errors(device, request), _deterministic():
            for number, name in enumerate(names):
                single = request.with_changes(seed=sample_seed(request.seed, number), samples=1)
                share = _share(progress, number, request, started)
                meter = Meter(device)
                result = self._sample(single, plan, bundles, device, share, meter)
                share("write", 0, 1)
                with meter.stage("write"):
                    request_bytes = results.write_images(folder / name, result)
                judged = _judged(result.labels, plan, completed=bundles.surroundings is not None)
                regional = bundles.surroundings is not None or single.mask_generator in WHOLE_REGION
                asked = region.read(single.description).volumes() if regional else None
                quality = readout(result.labels, result.ct, single, bundles.metadata, made=judged, asked=asked)
                facts = _provenance(bundles.mask, device, meter) | {"seed": single.seed, "sample": number + 1} | bundles.facts(single)
                facts |= {"request_sha256": hashlib.sha256(request_bytes).hexdigest(), "quality": quality}
                results.write_manifest(folder / name, facts)
                share("write", 1, 1)
        return [Path(out) / name for name in names]

    def _sample(
        self,
        request: GenerationRequest,
        plan: framing.Plan,
        bundles: Bundles,
        device: torch.device,
        progress: Progress,
        meter: Meter,
    ) -> results.Result:
        """The stages of one sample that are asked for."""
        progress("load", 0, 2)
        with meter.stage("load"):
            mask_generator = self._get("mask", self._masks, request.mask_generator, bundles.mask, device)
            progress("load", 1, 2)
            completer = bundles.surroundings and self._get("surroundings", self._masks, WHOLE_REGION[0], bundles.surroundings, device)
            volume_generator = self._get("volume", self._volumes, request.volume_generator, bundles.volume, device)
        progress("load", 2, 2)
        steps = request.steps
        if mask_generator is None:
            labels = compose(None, plan, bundles.order)
        else:
            condition = _condition(request, plan.structures, plan.grid, plan.context)
            with meter.stage("mask"), torch.no_grad():
                made = mask_generator.generate(condition, stage_rng(request.seed, "mask"), progress)
                labels = compose(made, plan, bundles.order)
        if completer:
            with meter.stage("surroundings"), torch.no_grad():
                labels = complete(labels, request, plan, bundles, completer, progress.under("surroundings"))
        if volume_generator is None:
            return results.Result(labels, None, request)
        with meter.stage("volume"), torch.no_grad():
            rng = stage_rng(request.seed, "volume")
            ct = volume_generator.generate(labels, request.description, rng, progress, steps=steps)
        return results.Result(labels, _checked(ct, plan), request)

    def _get(self, stage: str, load: Callable, name: str, chosen: bundle.Bundle, device: torch.device) -> Any:
        """The generator of a stage, loaded once; None for the name "none"."""
        if name == NONE:
            return None
        key = (chosen.digest, stage, name, str(device))
        if key not in self._loaded:
            kept = {k: v for k, v in self._loaded.items() if k[1] != stage}  # one of each stage: memory is for the work
            self._loaded = kept
            self._loaded[key] = load(name, chosen, device)
        return self._loaded[key]


def sample_seed(seed: int, sample: int) -> int:
    """The seed of one sample; sample 0 has the request's own, so any sample can be made again alone from its seed."""
    return seed if sample == 0 else _hashed(f"{seed}:sample:{sample}")


def stage_rng(seed: int, stage: str) -> torch.Generator:
    """The random numbers of one stage. On the CPU, so that the noise does not depend on the device."""
    return torch.Generator("cpu").manual_seed(_hashed(f"{seed}:{stage}"))


def _hashed(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1  # 63 bits: a request's seed limit


def compose(made: LabelVolume | None, plan: framing.Plan, order: list[str]) -> LabelVolume:
    """What was made and the context as one uint8 map with the bundle's values; the context wins where both are.

    A generator may make more than was asked for (a whole region); what the bundle has no value for is left out. A structure that the
    context holds gets not one voxel more.
    """
    if made is not None and made.array.shape != plan.grid.shape:
        raise Sketch2CTError(f"The mask generator returned {made.array.shape} voxels instead of {plan.grid.shape}.")
    array = np.zeros(plan.grid.shape, dtype=np.uint8)
    names: dict[int, str] = {}
    layers: list[tuple[LabelVolume, str]] = []
    if made is not None:
        kept = set(plan.structures) | {name for name in order if plan.context is not None and plan.context.has(name)}
        more = [name for name in made.names.values() if name in order and name not in kept and made.has(name)]
        layers = [(made, name) for name in (*plan.structures, *more)]
    if plan.context is not None:
        layers += [(plan.context, name) for name in plan.context.names.values() if plan.context.has(name)]
    for source, name in layers:
        value = order.index(name) + 1
        names[value] = name
        if source.has(name):
            array[source.mask(name)] = value
    return LabelVolume(array, plan.grid, dict(sorted(names.items())))


def complete(
    labels: LabelVolume, request: GenerationRequest, plan: framing.Plan, bundles: Bundles, generator: MaskGenerator, progress: Progress
) -> LabelVolume:
    """The whole region around the structures of `labels`, which stay as they are, to the voxel, empty ones included.

    Where nothing of the region is missing, `labels` themselves.
    """
    given = framing.Plan(plan.structures, plan.grid, labels)
    missing = framing.missing_around(given, bundles.around or {})
    if not missing:
        return labels
    structures = tuple(name for name in missing if not vocabulary()[name].derived)
    made = generator.generate(_condition(request, structures, plan.grid, labels), stage_rng(request.seed, "surroundings"), progress)
    around = LabelVolume(made.array, made.grid, {value: name for value, name in made.names.items() if name not in plan.structures})
    whole = compose(around, framing.Plan(structures, plan.grid, labels), bundles.order)
    return LabelVolume(whole.array, whole.grid, dict(sorted((labels.names | whole.names).items())))


def _condition(request: GenerationRequest, structures: tuple[str, ...], grid: Grid, context: LabelVolume | None) -> MaskCondition:
    return MaskCondition(structures, tuple(request.sketches), request.description, grid, context, request.steps, request.guidance)


def _judged(labels: LabelVolume, plan: framing.Plan, *, completed: bool) -> tuple[str, ...]:
    """The structures whose quality is told: those asked for and, around them, those `completed`; of a given mask all that it holds."""
    if plan.structures and not completed:
        return plan.structures
    context = plan.context if plan.structures else None
    others = [name for name in _contoured(labels) if name not in plan.structures and not (context and context.has(name))]
    return (*plan.structures, *others)


def _contoured(labels: LabelVolume) -> tuple[str, ...]:
    """The structures of a map, without what thresholds give."""
    return tuple(name for name in labels.names.values() if labels.has(name) and not vocabulary()[name].derived)


def _checked(ct: CTVolume, plan: framing.Plan) -> CTVolume:
    """The CT as int16 HU within the scanner's range. Raises Sketch2CTError for a wrong shape or NaN."""
    array = np.asarray(ct.array)
    if array.shape != plan.grid.shape or not np.isfinite(array).all():
        raise Sketch2CTError(f"The volume generator returned no valid CT (shape {array.shape}).")
    return CTVolume(np.clip(np.round(array), HU_MIN, HU_MAX).astype(np.int16), plan.grid)


def spans(request: GenerationRequest) -> dict[str, tuple[float, float]]:
    """Which part (from, to) of one sample's time each stage takes that the request asks for."""
    makers = {"mask": request.mask_generator, "surroundings": request.surroundings or NONE, "volume": request.volume_generator}
    shares = {stage: share for stage, share in SHARES.items() if makers.get(stage) != NONE}
    if request.mask_generator in WHOLE_REGION:
        shares["mask"] = WHOLE
    ends = np.cumsum(list(shares.values())) / sum(shares.values())
    starts = [0.0, *ends[:-1].tolist()]
    return {stage: (start, end) for stage, start, end in zip(shares, starts, ends.tolist(), strict=True)}


def _share(progress: Progress, number: int, request: GenerationRequest, started: float) -> Progress:
    """The progress of sample `number` as a part of the whole run, with the same cancel button."""

    def report(stage: str, step: int, steps: int, fraction: float, _eta: float | None) -> None:
        whole = (number + fraction) / request.samples
        eta = (time.monotonic() - started) * (1 - whole) / whole if whole > 0.02 else None
        if progress.report is not None:
            progress.report(stage, step, steps, whole, eta)

    share = Progress(report=report, cancel=progress.cancel)
    share.plan(spans(request))
    return share


@contextmanager
def _deterministic() -> Iterator[None]:
    """The same request and seed give the same bytes on the same device; the settings before are put back."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what cuBLAS asks for; read when it starts
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.backends.cudnn.benchmark = benchmark


@contextmanager
def memory_errors(device: torch.device, request: GenerationRequest | None = None) -> Iterator[None]:
    """Turns every way of running out of memory into OutOfMemory, and gives the device's cache back."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # torch's own out-of-memory error is a RuntimeError
        if not isinstance(error, MemoryError) and not any(sign in str(error).lower() for sign in _NO_MEMORY):
            raise
        raise OutOfMemory(
            f"The memory of {devices.label(device)} is too small for this request.",
            "Use a smaller frame or fewer samples"
            + (", or leave the surroundings out" if request is not None and request.surroundings else "")
            + (", or --device cpu." if device.type == "cuda" else "."),
        ) from error
    finally:
        if device.type == "cuda":
            gc.collect()
            torch.cuda.empty_cache()


def versions() -> dict[str, str]:
    """The versions that a result depends on."""
    packages = {name: version(name) for name in ("torch", "monai", "numpy")}
    return {"sketch2ct": __version__, "python": platform.python_version(), **packages}


def _provenance(chosen: bundle.Bundle, device: torch.device, meter: Meter) -> dict[str, Any]:
    return {
        "versions": versions(),
        "bundle": chosen.name,
        "bundle_hash": chosen.digest,
        "device": devices.label(device),
        "seconds": meter.seconds,
        "peak_memory_mb": meter.peak_memory_mb,
    }
