"""A bundle folder without trained weights, and generators that draw ellipsoids: what tests of the engine need of a model.

Run as a program, it is a worker around such an engine:

    fake_backend.py BUNDLES [seconds a mask takes]
    fake_backend.py --light [seconds a run takes] [fault of the start]     no torch, up in a moment; knows FAULTS

The light one does what the description of a request says, `fault=NAME` or `fault=NAME@STAGE` (stage mask by default).
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np

STRUCTURES = ["brainstem", "spinal_cord", "parotid_gland_right", "parotid_gland_left", "mandible"]
FRAME = {"shape": [48, 48, 40], "spacing": [3.0, 3.0, 3.0]}
STEPS = 10


def make_bundle(parent: Path, name: str = "headneck", **metadata) -> Path:
    """A complete, verifiable bundle folder whose weights are a few bytes."""
    from sketch2ct import bundle
    from sketch2ct.describe import FACTS

    folder = parent / name
    for part in ("configs", "models", "docs"):
        (folder / part).mkdir(parents=True)
    spread = {fact: np.linspace(20, 100, 21).tolist() for fact in FACTS}
    facts = {
        "structures": STRUCTURES,
        "frame": FRAME,
        "placement": {"mandible": [0.0, 12.0, -6.0]},
        "ranges": {"mandible": spread},
        "hu": {"mandible": [200, 1500]},
    }
    (folder / "configs" / "metadata.json").write_text(json.dumps(facts | metadata))
    (folder / "models" / "mask.safetensors").write_bytes(bytes(range(256)))
    (folder / "docs" / "README.md").write_text("A bundle for tests.\n")
    (folder / "LICENSE").write_text("CC0\n")
    bundle.write_sums(folder)
    return folder


def circle(radius: float = 20.0, centre: tuple[float, float, float] = (0, 0, 0), orientation: str = "axial", **kwargs):
    """A round sketch; `centre` RAS mm, `radius` mm."""
    from sketch2ct.geometry import Plane
    from sketch2ct.request import Sketch

    plane = Plane.named(orientation, centre)
    angle = np.linspace(0, 2 * np.pi, 60)
    stroke = plane.to_ras(np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1))
    return Sketch(kwargs.pop("structure", "mandible"), plane, [stroke], **kwargs)


class EllipsoidMasks:
    """An ellipsoid through the strokes of each structure; without strokes a ball in the middle. The seed moves it a little."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds, self.calls = seconds, 0

    def generate(self, condition, rng, progress):
        """As a mask generator."""
        import torch

        from sketch2ct.imaging import LabelVolume

        self.calls += 1
        ras = condition.grid.voxel_centres()
        array = np.zeros(condition.grid.shape, dtype=np.uint8)
        for step in range(STEPS):
            time.sleep(self.seconds / STEPS)
            progress("mask", step + 1, STEPS)
        for value, name in enumerate(condition.structures, start=1):
            points = [sketch.points() for sketch in condition.sketches if sketch.structure == name]
            low, high = (f(np.concatenate(points), axis=0) for f in (np.min, np.max)) if points else (-15.0, 15.0)
            size = np.ptp(np.stack(np.broadcast_arrays(low, high)), axis=0)
            radius = np.maximum(size, size.max() * 0.8) / 2 + float(torch.rand(1, generator=rng)) / 2
            array[(((ras - (low + high) / 2) / radius) ** 2).sum(-1) <= 1] = value
        return LabelVolume(array, condition.grid, dict(enumerate(condition.structures, start=1)))


class FlatVolumes:
    """A head of 40 HU with noise, 700 HU where there is a label, air around."""

    def generate(self, labels, text, rng, progress, *, steps=None):
        """As a volume generator."""
        import torch

        from sketch2ct.imaging import CTVolume

        noise = torch.randn(labels.grid.shape, generator=rng).numpy() * 15
        index = np.stack(np.indices(labels.grid.shape), axis=-1) / (np.array(labels.grid.shape) - 1) * 2 - 1
        head = (index[..., :2] ** 2).sum(-1) < 0.85
        array = np.where(head, 40, -1000) + np.where(labels.array > 0, 660, 0) + noise
        progress("volume", 1, 1)
        return CTVolume(array.astype(np.int16), labels.grid)


def engine(bundles: Path, seconds: float = 0.0, masks=None, volumes=None):
    """An engine around the fakes, with its bundles in the folder `bundles`."""
    from sketch2ct import bundle
    from sketch2ct.engine import Engine

    masks, volumes = masks or EllipsoidMasks(seconds), volumes or FlatVolumes()
    return Engine(lambda *_: masks, lambda *_: volumes, lambda name: bundle.load(str(bundles / name)))


STAGES = ("load", "mask", "volume", "write")
FAULTS = {
    "oom": "the engine finds too little memory",
    "bug": "an exception that nobody foresaw",
    "exit3": "the process ends with the code 3",
    "exit0": "the process ends as if all were well",
    "sigkill": "the process is killed, as by a system without memory",
    "sigsegv": "a native library crashes",
    "garbage": "a library writes into the protocol",
    "deaf": "the work goes on whatever it is told, and so does a child process, whose number goes to stderr",
    "flood": "megabytes of text on stderr",
    "unmarked": "the manifest does not say that the result is synthetic",
    "no-manifest": "the result lacks its manifest",
    "no-samples": "a result without samples",
}


class LightEngine:
    """Writes a small result without a network, in `seconds`, with progress in every stage. `raw` is the protocol's own pipe."""

    def __init__(self, seconds: float = 0.0, raw: int = 1) -> None:
        self.seconds, self.raw = seconds, raw

    def generate(self, request, out, progress, *, replace=False):
        """As Engine does."""
        from sketch2ct import results

        fault, _, stage = (re.search(r"fault=(\S+)", request.description) or [None, ""])[1].partition("@")
        progress.plan({name: (n / len(STAGES), (n + 1) / len(STAGES)) for n, name in enumerate(STAGES)})
        with results.staged(out, replace=replace) as folder:
            for name in STAGES:
                self._suffer(fault if name == (stage or "mask") else "", folder)
                for step in range(STEPS):
                    time.sleep(self.seconds / STEPS / len(STAGES))
                    progress(name, step + 1, STEPS)
            self._write(folder, request, fault)
        return [] if fault == "no-samples" else [out]

    def _suffer(self, fault, folder):
        from sketch2ct.errors import OutOfMemory

        (folder / "half.txt").write_text("half")
        if fault == "oom":
            raise OutOfMemory("The memory of CPU is too small for this request.", "Use a smaller frame or fewer samples.")
        if fault == "bug":
            raise ZeroDivisionError("division by zero")
        if fault.startswith("exit"):
            print("Fatal: the disk vanished", file=sys.stderr, flush=True)
            os._exit(int(fault[4:]))
        if fault.startswith("sig"):
            os.kill(os.getpid(), getattr(signal, fault.upper()))
        if fault == "garbage":
            os.write(self.raw, b'\xff\xfe stray {"type": \n[1, 2]\n"progress"\n{"no": "type"}\n')
        if fault == "flood":
            sys.stderr.write("ü" * 99 + "\n")
            sys.stderr.write(("x" * 99 + "\n") * 30_000)
        if fault == "deaf":
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
            print(f"child {child.pid}", file=sys.stderr, flush=True)
            while True:
                time.sleep(1)

    def _write(self, folder, request, fault):
        from sketch2ct import results
        from sketch2ct.geometry import Grid
        from sketch2ct.imaging import CTVolume, LabelVolume

        grid = Grid.centred((0, 0, 0), (3.0, 3.0, 3.0), (12, 10, 8))
        labels = np.zeros(grid.shape, np.uint8)
        labels[4:8, 4:7, 3:6] = 1
        ct = CTVolume(np.where(labels > 0, 700, 40).astype(np.int16), grid)
        (folder / "half.txt").unlink()
        results.write_images(folder, results.Result(LabelVolume(labels, grid, {1: "mandible"}), ct, request))
        quality = {"sketches": [], "structures": {}, "warnings": []}
        results.write_manifest(folder, {"quality": quality, **({"synthetic": False} if fault == "unmarked" else {})})
        if fault == "no-manifest":
            (folder / results.MANIFEST).unlink()


def light(seconds: float, fault: str) -> None:
    """The worker without torch. Faults of its start: "exit3", "import", "silent", "old", "sigkill"."""
    from sketch2ct import worker

    if fault == "exit3":
        sys.exit(3)
    if fault == "import":
        import a_package_that_nobody_has  # noqa: F401
    if fault == "silent":
        time.sleep(300)
    if fault == "sigkill":
        os.kill(os.getpid(), signal.SIGKILL)
    if fault == "old":
        worker.PROTOCOL_VERSION = 0
    devices = [{"name": "cpu", "label": "CPU (fake)", "free_mb": None, "total_mb": None}]
    bundles = [{"name": "headneck", "structures": STRUCTURES, "frame": FRAME}]
    worker.run(LightEngine(seconds, os.dup(1)), {"versions": {"sketch2ct": "fake"}, "devices": devices, "bundles": bundles})


if __name__ == "__main__":
    if sys.argv[1] == "--light":
        light(float((*sys.argv, "0")[2]), (*sys.argv, "", "")[3])
    else:
        from sketch2ct import worker

        worker.run(partial(engine, Path(sys.argv[1]), float((*sys.argv, "0")[2]))())
