"""What tests of cohorts need: a quick engine without torch, specs, and a runner in a process of its own that can be killed.

Run as a program, it makes a cohort with that engine:

    cohort_kit.py SPEC OUT LOG [seconds a case takes]      SKETCH2CT_BUNDLES names the folder of the bundle; LOG gets a line a call
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from sketch2ct import bundle, framing, results
from sketch2ct.cohort.opening import Asked
from sketch2ct.cohort.reporting import Reporter, Tally
from sketch2ct.cohort.runner import run
from sketch2ct.cohort.start import asked
from sketch2ct.errors import Sketch2CTError
from sketch2ct.imaging import CTVolume, LabelVolume
from sketch2ct.quality import readout
from sketch2ct.request import GenerationRequest

FRAME = {"shape": [32, 32, 28], "spacing": [5.0, 5.0, 5.0]}
STEPS = 4


class QuickEngine:
    """An ellipsoid through the strokes and noise around 40 HU, both of the request's seed; the manifest and readout are the real ones.

    `log` gets the case's name, its seed and the process at every call. `faults` maps a case's name to the errors that its calls raise, one
    after another. A request with the seed `deadly` ends the process.
    """

    def __init__(
        self, log: Path | None = None, seconds: float = 0.0, faults: dict[str, list[Exception]] | None = None, deadly: int | None = None
    ) -> None:
        self.log, self.seconds, self.faults, self.deadly = log, seconds, faults or {}, deadly
        self.calls: list[str] = []

    def generate(self, request: GenerationRequest, out: Path, progress: Any = None, *, replace: bool = False) -> list[Path]:
        """As Engine does."""
        self.calls.append(out.name)
        if self.log is not None:
            with self.log.open("a") as stream:
                stream.write(f"{out.name} {request.seed} {os.getpid()}\n")
        if request.seed == self.deadly:
            os._exit(3)
        if self.faults.get(out.name):
            raise self.faults[out.name].pop(0)
        chosen = bundle.load(request.bundle)
        with results.staged(out, replace=replace) as folder:
            for step in range(STEPS):
                time.sleep(self.seconds / STEPS)
                if progress is not None:
                    progress("mask", step + 1, STEPS)
            labels, ct = _made(request, chosen.metadata)
            results.write_images(folder, results.Result(labels, ct, request))
            quality = readout(labels, ct, request, chosen.metadata)
            results.write_manifest(folder, {"bundle": chosen.name, "bundle_hash": chosen.digest, "seed": request.seed, "quality": quality})
        return [out]


def _made(request: GenerationRequest, metadata: dict[str, Any]) -> tuple[LabelVolume, CTVolume | None]:
    plan = framing.plan(request, metadata)
    rng = np.random.default_rng(request.seed)
    ras, array = plan.grid.voxel_centres(), np.zeros(plan.grid.shape, np.uint8)
    for value, name in enumerate(plan.structures, start=1):
        drawn = [sketch.points() for sketch in request.sketches if sketch.structure == name]
        low, high = (end(np.concatenate(drawn), axis=0) for end in (np.min, np.max)) if drawn else (np.full(3, -20.0), np.full(3, 20.0))
        radius = np.maximum((high - low) / 2, 12.0) + rng.uniform(0, 1)
        array[(((ras - (low + high) / 2) / radius) ** 2).sum(-1) <= 1] = value
    labels = LabelVolume(array, plan.grid, dict(enumerate(plan.structures, start=1)))
    if request.volume_generator == "none":
        return labels, None
    hu = np.where(array > 0, 700, 40) + rng.normal(0, 15, array.shape)
    return labels, CTVolume(hu.astype(np.int16), plan.grid)


class Heard(Reporter):
    """Keeps what it hears."""

    def __init__(self, on_case: Callable[[str], None] = lambda name: None) -> None:
        self.verdicts: dict[str, str] = {}
        self.failures: list[dict[str, Any]] = []
        self.notes: list[str] = []
        self.stopped: str | None = None
        self._on_case = on_case

    def case(self, tally: Tally, name: str, source: str, verdict: str, reasons: list[str]) -> None:
        self.verdicts[name] = verdict
        self._on_case(name)

    def failed(self, tally: Tally, facts: dict[str, Any]) -> None:
        self.failures.append(facts)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def done(self, tally: Tally, stopped: str) -> None:
        self.stopped = stopped


def write_spec(path: Path, **keys: Any) -> Path:
    path.write_text(yaml.safe_dump(keys))
    return path


def wanted(spec: Path, out: Path, **options: Any) -> Asked:
    return asked(spec, out, **options)


def make(spec: Path, out: Path, engine: Any = None, heard: Heard | None = None, **options: Any) -> Tally:
    """Run a cohort in this process."""
    engine = engine or QuickEngine()
    return run(wanted(spec, out, **options), lambda: engine, heard or Heard(), threading.Event())


def stable_bytes(out: Path) -> dict[str, bytes]:
    """What must not depend on how often a run was broken: everything of the cases but the manifests, which hold the time."""
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted((out / "cases").rglob("*.*")) if path.name != "manifest.json"}


if __name__ == "__main__":
    spec_file, out_folder, log_file = map(Path, sys.argv[1:4])
    try:
        make(spec_file, out_folder, QuickEngine(log_file, float((*sys.argv, "0")[4])))
    except Sketch2CTError as problem:
        sys.exit(str(problem))
