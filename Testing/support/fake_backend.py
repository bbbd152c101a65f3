"""A bundle folder without trained weights, and generators that draw ellipsoids: what tests of the engine need of a model.

Run as a program, it is the worker around such an engine: `fake_backend.py BUNDLES [seconds a mask takes]`.
"""

from __future__ import annotations

import json
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


if __name__ == "__main__":
    from sketch2ct import worker

    worker.run(partial(engine, Path(sys.argv[1]), float((*sys.argv, "0")[2]))())
