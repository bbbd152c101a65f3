"""This system's own speed: the worker that 3D Slicer talks to, in a fresh process (cold) and once it has done the same (warm)."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from statistics import median
from typing import IO, Any

import numpy as np
import torch

from .. import framing
from ..anatomy import vocabulary
from ..bundle import ENVIRONMENT_VARIABLE, Bundle
from ..engine import Engine
from ..errors import Sketch2CTError
from ..generation import MaskGenerator, VolumeGenerator
from ..geometry import Grid, Plane
from ..request import GenerationRequest, Sketch
from ..resources import resources_dir
from .peak import Peak, Work, counted

FRAMES = {"small": 0.5, "default": 1.0, "large": 2.0}  # of the bundle's own extent along each axis, at its spacing
STAGES = ("load", "mask", "volume", "write")
SAMPLE = "mandible.json"
_MIN_VOXELS = 8  # along an axis
Measured = tuple[float, dict[str, Any]]  # seconds as the client sees them, and the manifest


def standard_request(chosen: Bundle, seed: int) -> GenerationRequest:
    """The sample request where the bundle knows its structure; else a circle of an eighth of the frame around the bundle's first."""
    known = [str(name) for name in chosen.metadata["structures"]]
    sample = resources_dir() / "Samples" / SAMPLE
    if sample.is_file():
        request = GenerationRequest.read(sample)
        if set(request.structures()) <= set(known):
            return request.with_changes(bundle=chosen.name, seed=seed)
    frame = chosen.metadata["frame"]
    radius = float(np.min(np.multiply(frame["shape"], frame["spacing"]))) / 16
    angle = np.linspace(0, 2 * np.pi, 60)
    plane = Plane.named("axial", (0, 0, 0))
    stroke = plane.to_ras(radius * np.stack([np.cos(angle), np.sin(angle)], axis=1))
    spoken = vocabulary()[known[0]].spoken if known[0] in vocabulary() else known[0]
    return GenerationRequest([Sketch(known[0], plane, [stroke])], f"a {spoken}", bundle=chosen.name, seed=seed)


def framed(request: GenerationRequest, metadata: dict[str, Any], factor: float) -> GenerationRequest:
    """The request on a grid of `factor` times the bundle's extent; one smaller than the bundle's is centred on the strokes."""
    own = framing.bundle_frame(request, metadata)
    i, j, k = (max(_MIN_VOXELS, round(n * factor)) for n in own.shape)
    points = np.concatenate([sketch.points() for sketch in request.sketches])
    centre = own.centre if factor >= 1 else np.round((points.min(axis=0) + points.max(axis=0)) / 2, 3)
    return request.with_changes(grid=Grid.centred(centre, own.spacing, (i, j, k)))


def command() -> list[str]:
    """What starts a worker of this package."""
    return [sys.executable, "-m", "sketch2ct", "worker"]


class Worker:
    """A worker process and the client's end of its protocol; `start_s` is the time until it was ready."""

    def __init__(self, words: list[str], shelf: Path, errors: IO[bytes]) -> None:
        package = str(Path(__file__).resolve().parents[2])
        paths = {"PYTHONPATH": package, ENVIRONMENT_VARIABLE: str(shelf)}
        joined = {key: os.pathsep.join(x for x in (path, os.environ.get(key, "")) if x) for key, path in paths.items()}
        self._errors, self._jobs = errors, count(1)  # a number may be in use for a moment after its result
        start = time.perf_counter()
        self._process = subprocess.Popen(words, env={**os.environ, **joined}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
        try:
            self._until("ready")
        except BaseException:
            self.close()
            raise
        self.start_s = time.perf_counter() - start

    def generate(self, request: GenerationRequest, out: Path) -> Measured:
        """One result: its seconds and its manifest. Raises Sketch2CTError with the worker's own message."""
        line = {"type": "generate", "id": next(self._jobs), "request": request.to_dict(), "out": str(out), "replace": True}
        assert self._process.stdin is not None
        start = time.perf_counter()
        self._process.stdin.write(json.dumps(line).encode() + b"\n")
        self._process.stdin.flush()
        event = self._until("result", "error")
        seconds = time.perf_counter() - start
        if event["type"] == "error":
            raise Sketch2CTError(event["message"], event["hint"])
        return seconds, json.loads((out / "manifest.json").read_text(encoding="utf-8"))

    def _until(self, *kinds: str) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            event: dict[str, Any] = json.loads(line)
            if event["type"] in kinds:
                return event
        self._errors.seek(0)
        last = self._errors.read().decode(errors="replace").strip().splitlines()[-1:]
        raise Sketch2CTError(f"The worker ended with status {self._process.wait()}: {''.join(last) or 'it said nothing'}.")

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()


@contextmanager
def _fresh(words: list[str], shelf: Path) -> Iterator[Worker]:
    with tempfile.TemporaryFile() as errors:
        worker = Worker(words, shelf, errors)
        try:
            yield worker
        finally:
            worker.close()


@dataclass
class Runs:
    """The measurements of one frame in one state, cold or warm."""

    totals: list[float] = field(default_factory=list)
    manifests: list[dict[str, Any]] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)

    def add(self, measured: Measured, start_s: float | None = None) -> None:
        """One run; a cold one with the seconds that the process took to be ready."""
        self.totals.append(measured[0] + (start_s or 0.0))
        self.manifests.append(measured[1])
        self.starts += [] if start_s is None else [start_s]

    def to_dict(self) -> dict[str, Any]:
        """`seconds` by stage and `peak_memory_mb` by stage, as JSON; `other` is what belongs to no stage."""
        stages = {name: [m["seconds"][name] for m in self.manifests] for name in STAGES if name in self.manifests[0]["seconds"]}
        columns = {**({"start": self.starts} if self.starts else {}), **stages}
        columns["other"] = [total - sum(values) for total, *values in zip(self.totals, *columns.values(), strict=True)]
        memory = {name: {kind: self._peak(name, kind) for kind in ("host", "device")} for name in stages}
        return {"seconds": {name: spread(x) for name, x in {**columns, "total": self.totals}.items()}, "peak_memory_mb": memory}

    def _peak(self, stage: str, kind: str) -> float | None:
        known = [m["peak_memory_mb"][stage][kind] for m in self.manifests if m["peak_memory_mb"][stage][kind] is not None]
        return max(known, default=None)


def spread(values: list[float]) -> dict[str, Any]:
    """`{"median", "min", "max", "n"}` of seconds."""
    low, middle, high = (round(max(x, 0.0), 3) for x in (min(values), median(values), max(values)))
    return {"median": middle, "min": low, "max": high, "n": len(values)}


def time_frame(request: GenerationRequest, shelf: Path, repeats: int, words: list[str] | None = None) -> dict[str, Any]:
    """One request `repeats` times in fresh processes, then as often again in the last of them; as JSON (see `report`).

    `shelf` is the folder that the bundle lies in. Raises Sketch2CTError with the worker's message.
    """
    cold, warm, made = Runs(), Runs(), set()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "result"
        for turn in range(repeats):
            with _fresh(words or command(), shelf) as worker:
                cold.add(worker.generate(request, out), worker.start_s)
                made.add(digest(out))
                for _ in range(repeats if turn == repeats - 1 else 0):
                    warm.add(worker.generate(request, out))
                    made.add(digest(out))
    return {"cold": cold.to_dict(), "warm": warm.to_dict(), "sha256": min(made), "same_bytes": len(made) == 1}


def digest(out: Path) -> str:
    """One hash of a result's images."""
    found = hashlib.sha256()
    for path in sorted(out.glob("*.nii.gz")):
        found.update(path.read_bytes())
    return found.hexdigest()


class _Counted:
    """A generator whose work is counted."""

    def __init__(self, generator: Any) -> None:
        self._generator, self.work = generator, Work()

    def generate(self, *arguments: Any, **options: Any) -> Any:
        """As the generator does."""
        with counted() as self.work:
            return self._generator.generate(*arguments, **options)


def work_of(
    request: GenerationRequest,
    chosen: Bundle,
    load_masks: Callable[[str, Bundle, torch.device], MaskGenerator],
    load_volumes: Callable[[str, Bundle, torch.device], VolumeGenerator],
) -> dict[str, Work]:
    """Operations and bytes of the stages `mask` and `volume` of one request, counted in this process."""
    kept: dict[str, _Counted] = {}

    def counting(stage: str, load: Callable[[str, Bundle, torch.device], Any]) -> Callable[..., Any]:
        def loaded(name: str, bundle: Bundle, device: torch.device) -> _Counted:
            return kept.setdefault(stage, _Counted(load(name, bundle, device)))

        return loaded

    engine = Engine(counting("mask", load_masks), counting("volume", load_volumes), lambda _: chosen)
    with tempfile.TemporaryDirectory() as folder:
        engine.generate(request, Path(folder) / "result")
    return {stage: counting_one.work for stage, counting_one in kept.items()}


def efficiency(timing: dict[str, Any], work: dict[str, Work], peak: Peak) -> dict[str, Any]:
    """Work of each stage against the device's peak, by its warm median seconds."""
    seconds = timing["warm"]["seconds"]
    return {stage: asked.against(seconds[stage]["median"], peak) for stage, asked in work.items() if stage in seconds}
