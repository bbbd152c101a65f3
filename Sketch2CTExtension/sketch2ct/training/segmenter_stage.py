"""Training of the segmenter that judges generated CTs, on real scans (or, to measure their use, on synthetic ones)."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.losses import DiceLoss
from torch import Tensor

from .. import devices
from ..data.nnunet import Dataset
from ..data.scans import Scan, build_scans
from ..errors import BadRequest
from ..evaluation.metrics import dice
from ..evaluation.segmenter import SETTINGS, WEIGHTS, Segmenter
from ..imaging import CTVolume
from ..modality import Modality, of
from ..networks.segmenter import SegmenterNetwork, SegmenterSize
from . import prepare
from .loop import Endless, Stage, fit
from .run import read_recipe
from .volume_stage import mirror_order

Batch = tuple[Tensor, Tensor, Tensor]
FOREGROUND = 0.75  # of the crops lie around a voxel of a structure


def only_known(scan: Scan, modality: Modality) -> np.ndarray:
    """HU (i, j, k) with air where nothing was stored."""
    return np.where(scan.known, scan.hu, modality.outside).astype(np.float32)


class SegmentBatches(Endless):
    """Endless batches of HU (N, 1, c, c, c), labels 0..1 and their weights (N, structures, c, c, c), float32.

    A structure that a scan was not contoured for, and a voxel that was never stored, have weight 0.
    """

    def __init__(self, scans: list[Scan], structures: tuple[str, ...], settings: dict[str, Any], seed: int) -> None:
        self.scans = [scan for scan in scans if scan.known.any() and scan.labelled[: len(structures)].any()]
        if not self.scans:
            raise BadRequest("No training scan has a contoured structure where the CT was stored.", "Name another data set.")
        self.count, self.settings, self.seed = len(structures), settings, seed
        self.mirror, self.modality = mirror_order(structures), of(settings)
        self.inside = [[np.argwhere((c > 127) & s.known) for c in s.labels[: self.count]] for s in self.scans]

    def __iter__(self) -> Iterator[Batch]:
        rng = self.rng()
        while True:
            crops = [self.crop(int(rng.integers(len(self.scans))), rng) for _ in range(self.settings["batch"])]
            yield tuple(torch.from_numpy(np.stack(part)) for part in zip(*crops, strict=True))  # type: ignore[misc]

    def crop(self, number: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """One crop of a scan, mirrored half of the time (left and right change names), with another brightness and noise."""
        scan, size = self.scans[number], np.asarray(self.settings["crop"])
        candidates = [voxels for voxels in self.inside[number] if len(voxels)]
        if candidates and rng.random() < FOREGROUND:
            voxels = candidates[int(rng.integers(len(candidates)))]
            middle = voxels[int(rng.integers(len(voxels)))]
        else:
            middle = rng.integers(0, scan.hu.shape)
        starts = middle - size // 2 + rng.integers(-(size // 4), size // 4 + 1)
        air = self.modality.outside
        hu = _cut(only_known(scan, self.modality), starts, size, air)
        labels = _cut(scan.labels[: self.count], starts, size, 0).astype(np.float32) / 255
        weights = _cut(scan.known, starts, size, False)[None] & scan.labelled[: self.count, None, None, None]
        if self.settings["mirror"] and rng.random() < 0.5:
            hu, labels, weights = hu[::-1], labels[self.mirror, ::-1], weights[self.mirror, ::-1]
        own = self.settings
        hu = (hu - air) * (1 + own["gain"] * rng.normal()) + air + own["hu_shift"] * rng.normal()
        hu = hu + own["hu_noise"] * rng.random() * rng.standard_normal(hu.shape, dtype=np.float32)
        return hu[None].astype(np.float32), np.ascontiguousarray(labels), weights.astype(np.float32)


def _cut(array: np.ndarray, starts: np.ndarray, size: np.ndarray, outside: float) -> np.ndarray:
    """A window of the last three axes, `outside` past the border."""
    lead = array.shape[:-3]
    result = np.full((*lead, *size), outside, array.dtype)
    low, high = np.maximum(starts, 0), np.minimum(starts + size, array.shape[-3:])
    if (high > low).all():
        every = [slice(None)] * len(lead)
        source = [slice(int(a), int(b)) for a, b in zip(low, high, strict=True)]
        target = [slice(int(a), int(b)) for a, b in zip(low - starts, high - starts, strict=True)]
        result[(*every, *target)] = array[(*every, *source)]
    return result


class SegmenterStage(Stage):
    """Cross-entropy and soft Dice (MONAI's), one sigmoid a structure, over what is known and contoured.

    With `settings["steps"]` the budget is a number of steps, so that runs on different data are alike; else it is `minutes`.
    """

    net: SegmenterNetwork

    def __init__(self, settings: dict[str, Any], out: Path, minutes: float, size: SegmenterSize, checks: list[Scan]) -> None:
        super().__init__(settings, out, minutes)
        self.net, self.checks = SegmenterNetwork(size), checks
        self.dice_loss = DiceLoss(batch=True, reduction="none", smooth_nr=1.0, smooth_dr=1.0)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Loss terms; `overlap` is 1 - soft Dice over the structures that the batch holds."""
        hu, truth, weights = batch
        logits = self.net(hu).float()
        more = torch.tensor(float(self.settings["positive_weight"]), device=self.device)
        entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, truth, reduction="none", pos_weight=more)
        entropy = (entropy * weights).sum() / weights.sum().clamp_min(1)
        each = self.dice_loss(torch.sigmoid(logits) * weights, truth * weights).flatten()
        held = ((truth * weights).sum((0, 2, 3, 4)) > 0).float()
        overlap = (each * held).sum() / held.sum().clamp_min(1)
        return {"loss": 10 * entropy + overlap, "entropy": entropy.detach(), "overlap": overlap.detach()}

    @torch.inference_mode()
    def check(self) -> dict[str, float]:
        """Mean Dice by structure on the validation scans."""
        judge = Segmenter(self.net, self.settings, self.device)
        found: dict[str, list[float]] = {}
        for scan in self.checks:
            for name, value in scan_dice(judge, scan).items():
                found.setdefault(f"dice_{name}", []).append(value)
        self.net.train()
        return {key: float(np.mean(value)) for key, value in found.items()}


def scan_dice(judge: Segmenter, scan: Scan) -> dict[str, float]:
    """Dice of a segmenter's map and a scan's contours where the CT was stored, by contoured structure."""
    kind = of(judge.settings)
    made = judge.segment(CTVolume(only_known(scan, kind).astype(np.int16), scan.grid, kind))
    found = {}
    for n, name in enumerate(judge.structures):
        truth = (scan.labels[n] > 127) & scan.known
        if scan.labelled[n] and truth.any():
            found[name] = dice(made.mask(name) & scan.known, truth)
    return found


def segmenter_settings(recipe: str, metadata: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A recipe completed by a bundle's structures and frame spacing; `changes` that are not None win."""
    settings = read_recipe(recipe)
    if "network" not in settings or "crop" not in settings:
        raise BadRequest(f"The recipe '{recipe}' is no recipe of a segmenter.", "Use 'segmenter', or a file like it.")
    settings.update({key: value for key, value in changes.items() if value is not None})
    if changes.get("minutes") is not None and changes.get("steps") is None:
        settings["steps"] = None
    structures = [str(name) for name in metadata["structures"]]
    spacing = [float(x) for x in metadata["frame"]["spacing"]]
    kind = of(metadata).name
    network = {**settings["network"], "windows": settings["windows"][kind], "structures": len(structures)}
    return {**settings, "modality": kind, "structures": structures, "spacing": spacing, "frame": {"spacing": spacing}, "network": network}


def train_segmenter(
    data: Path,
    out: Path,
    metadata: dict[str, Any],
    *,
    recipe: str = "segmenter",
    resume: bool = False,
    device: str = "auto",
    minutes: float | None = None,
    steps: int | None = None,
    seed: int | None = None,
) -> Path:
    """Train a segmenter on the real training cases of a data set, with the structures and the spacing of a bundle's metadata.

    `out` gets `cache/`, `logs/`, checkpoints, `segmenter.json` and `weights.safetensors`; the folder is what `Segmenter.load` takes.
    Raises BadRequest or WriteFailed.
    """
    devices.choose(device)  # a wrong one is refused before anything is read
    settings = segmenter_settings(recipe, metadata, minutes=minutes, steps=steps, seed=seed)
    dataset, cache = Dataset(Path(data)), Path(out) / "cache"
    if dataset.modality != of(metadata):
        raise BadRequest(f"The bundle makes {of(metadata).name}, and {data} holds {dataset.modality.name}.", "Name a data set that fits.")
    prepare.claim(cache, {"data": dataset.root.name, **{key: settings[key] for key in ("train", "structures", "spacing")}})
    scans = prepare.prepared_scans(dataset, settings["train"], settings, cache)
    checks = []
    if settings["choose"] in dataset.splits():
        chosen = dataset.cases(settings["choose"])[: settings["checks"]]
        checks = build_scans(dataset, chosen, tuple(settings["structures"]), tuple(settings["spacing"]))
    about = {"data": dataset.root.name, "split": settings["train"], "cases": len(scans), "kind": "real"}
    return fit_segmenter(scans, checks, settings, out, about, resume=resume, device=device)


def fit_segmenter(
    scans: list[Scan], checks: list[Scan], settings: dict[str, Any], out: Path, about: dict[str, Any], *, resume: bool, device: str
) -> Path:
    """Train on given scans until the budget of the settings is spent, and write the folder."""
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    earlier = json.loads((out / SETTINGS).read_text(encoding="utf-8"))["trained"]["seconds"] if resume and (out / SETTINGS).is_file() else 0
    (out / SETTINGS).unlink(missing_ok=True)  # an unfinished folder is no segmenter
    torch.manual_seed(settings["seed"])  # the network's start, so that runs on other scans begin alike
    stage = SegmenterStage(settings, out, float(settings["minutes"]), SegmenterSize.from_dict(settings["network"]), checks)
    batches = SegmentBatches(scans, tuple(settings["structures"]), settings, settings["seed"])
    start = time.monotonic()
    path = fit(stage, batches, out, resume=resume, device=device, seed=settings["seed"])
    assert path.name == WEIGHTS
    seconds = earlier + round(time.monotonic() - start)
    trained = {**about, "steps": int(stage.trainer.global_step), "seconds": seconds, "seed": settings["seed"]}
    record = {**settings, "trained": {**trained, "device": device, "torch": str(torch.__version__)}}
    (out / SETTINGS).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return out
