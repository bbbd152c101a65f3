"""Training of GuideGen's CT model: CT latents given the class map of the whole region, or a part of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from ..data.contrast import prepared_contrast, told
from ..data.nnunet import Dataset
from ..data.regions import Region
from ..data.scans import Scan
from ..geometry import Grid
from ..masks.region_classes import UNKNOWN, Labels, RegionClasses
from ..modality import of
from ..networks.autoencoder import DOWN, CTAutoencoder
from ..networks.volume_unet import VolumeNetworkSize
from ..volumes.class_map import UNTOLD, WITH, WITHOUT, condition, contrast_number
from . import prepare
from .autoencoder_stage import encode_scan, trained_autoencoder
from .loop import Endless, fit
from .region_data import prepared_regions, region_classes
from .sizes import region_volume_size
from .volume_stage import VolumeStage, Window, cut, random_starts


@dataclass
class RegionLatent:
    """A case, straight or mirrored: `latent` (C, i, j, k) fp16 and `known` cells, its `region` on the scan's grid, as `beneath` the same
    without the structures, as thresholds alone tell it, and its contrast (UNTOLD, WITHOUT or WITH)."""

    latent: NDArray[np.float16]
    known: NDArray[np.bool_]
    region: Region
    beneath: Region
    contrast: int


def region_latent(
    net: CTAutoencoder, scan: Scan, region: Region, classes: RegionClasses, *, mirror: bool, contrast: int = UNTOLD
) -> RegionLatent:
    """Encode a scan whose class map is `region`; a mirrored one has left and right swapped, names too."""
    first = len(classes.structures)
    plain = classes.labels({name: scan.labels[first + n] >= 128 for n, name in enumerate(classes.derived)})
    plain[~scan.known] = UNKNOWN
    beneath = replace(region, labels=plain)
    if mirror:
        region, beneath = region.mirrored(classes), beneath.mirrored(classes)
        scan = replace(scan, hu=scan.hu[::-1], known=scan.known[::-1])
    latent, whole = encode_scan(net, scan)
    return RegionLatent(latent.numpy(), whole.numpy(), region, beneath, contrast)


def part_of(labels: Labels, beneath: Labels, classes: RegionClasses, rng: np.random.Generator, shares: dict[str, float]) -> Labels:
    """What is given this time of a class map: `all` of it; `some` structures, the others as what thresholds call them; `bare` structures,
    one or more, with nothing around them; or `none`. `shares` says how often."""
    kinds = list(shares)
    kind = kinds[int(rng.choice(len(kinds), p=np.array(list(shares.values())) / sum(shares.values())))]
    if kind == "all":
        return labels
    if kind == "none":
        return np.full_like(labels, UNKNOWN)
    kept = np.zeros(256, bool)
    kept[classes.first : classes.count] = rng.random(len(classes.structures)) < 0.5
    if kind == "some":
        kept[: classes.first] = kept[UNKNOWN] = True
    elif not kept.any():
        kept[int(rng.integers(classes.first, classes.count))] = True
    return np.where(kept[labels], labels, beneath if kind == "some" else np.uint8(UNKNOWN))


RegionWindow = tuple[Tensor, Tensor, Tensor, Tensor]  # latent, class map, contrast, known


class RegionLatentBatches(Endless):
    """Endless batches of latent (N, C, i, j, k), class map (N, 4i, 4j, 4k) uint8 with UNKNOWN, contrast (N,), known cells
    (N, 1, i, j, k)."""

    def __init__(self, cases: list[RegionLatent], classes: RegionClasses, settings: dict[str, Any], seed: int) -> None:
        self.cases, self.classes, self.settings, self.seed = cases, classes, settings, seed

    def __iter__(self) -> Iterator[RegionWindow]:
        rng = self.rng()
        torch.set_num_threads(1)
        while True:
            picks = [self.cases[int(rng.integers(len(self.cases)))] for _ in range(self.settings["batch"])]
            windows = [self.window(item, rng) for item in picks]
            yield tuple(torch.stack(part) for part in zip(*windows, strict=True))  # type: ignore[misc]

    def window(self, item: RegionLatent, rng: np.random.Generator) -> RegionWindow:
        """A window of the training size with a random part of its class map, contrast told or not; past the scan's border the latent is
        not known."""
        i, j, k = self.settings["window"]
        starts = random_starts(item.latent.shape[1:], (i, j, k), rng)
        affine = item.region.grid.affine.copy()
        affine[:3, 3] = item.region.grid.to_ras(np.multiply(starts, DOWN))
        frame = Grid((DOWN * i, DOWN * j, DOWN * k), affine)
        labels = part_of(item.region.on(frame), item.beneath.on(frame), self.classes, rng, self.settings["given"])
        latent = cut(item.latent.astype(np.float32), starts, (i, j, k))
        known = cut(item.known[None].astype(np.float32), starts, (i, j, k))
        contrast = UNTOLD if rng.random() < self.settings["silence"] else item.contrast
        return torch.from_numpy(latent), torch.from_numpy(labels), torch.tensor(contrast), torch.from_numpy(known)


class RegionVolumeStage(VolumeStage):
    """The volume stage on class maps and contrast; the network has no atlas.

    The numbers of a latent cell, brought to unit variance for the flow, stand for very different HU (a first principal component spreads
    35 times as far as a sixteenth). Each counts by its `spread` to the power `settings["spread"]`: with 1, the first has half of the loss.
    """

    def __init__(
        self,
        settings: dict[str, Any],
        out: Path,
        minutes: float,
        size: VolumeNetworkSize,
        checks: list[RegionWindow],
        classes: RegionClasses,
        spread: Tensor,
    ) -> None:
        super().__init__(settings, out, minutes, size, checks, len(classes.structures))
        self.classes, self.structures = classes.count, slice(classes.first, classes.count)
        weight = spread ** settings["spread"]
        self.channels.copy_((weight / weight.mean()).view_as(self.channels))

    def opened(self, batch: RegionWindow) -> Window:
        """One channel a class and a contrast; in the atlas' place nothing."""
        latent, labels, contrast, known = batch
        return latent, condition(labels, self.classes, contrast), latent[:, :0], known


def train_region_volume(
    settings: dict[str, Any], dataset: Dataset, cache: Path, out: Path, *, minutes: float, resume: bool, device: str
) -> None:
    """Train the CT model of a recipe on the latents of its autoencoder, which must be trained. Raises BadRequest."""
    net = trained_autoencoder(settings, out.parent)
    classes, own = region_classes(settings), settings["volume"]
    cases: list[list[RegionLatent]] = []
    agents: list[dict[str, int]] = []
    for split, mirrored in ((settings["train"], settings.get("mirror", True)), (settings["choose"], False)):
        regions = {region.case: region for region in prepared_regions(dataset, split, settings, cache)}
        scans = [scan for scan in prepare.prepared_scans(dataset, split, settings, cache) if scan.case in regions]
        bright = prepared_contrast(scans, cache / f"contrast{split}.json", of(settings))
        agents.append({scan.case: contrast_number(told(bright[scan.case])) for scan in scans})
        turns = [(scan, mirror) for scan in scans for mirror in ((False, True) if mirrored else (False,))]
        cases.append([region_latent(net, s, regions[s.case], classes, mirror=m, contrast=agents[-1][s.case]) for s, m in turns])
    found = list(agents[0].values())
    counts = {name: found.count(n) for name, n in (("with", WITH), ("without", WITHOUT), ("untold", UNTOLD))}
    (out / "contrast.json").write_text(json.dumps(counts))
    batches, held = (RegionLatentBatches(part, classes, own, settings["seed"]) for part in cases)
    rng = np.random.default_rng(settings["seed"])
    checks = [held.window(held.cases[n % len(held.cases)], rng) for n in range(own["checks"])]
    stage = RegionVolumeStage(own, out, minutes, region_volume_size(settings), checks, classes, net.std)
    fit(stage, batches, out, resume=resume, device=device, seed=settings["seed"])


def bundle_part(settings: dict[str, Any], out: Path) -> tuple[dict[str, Any], dict[str, dict[str, Tensor]]]:
    """What the stages `autoencoder` and `volume` in `out` add to a bundle: metadata `region_volume`, and weights by part."""
    coder = trained_autoencoder(settings, out)
    about = {"network": region_volume_size(settings).to_dict(), "autoencoder": coder.size.to_dict()}
    about |= {"sampling": settings["sampling"]["region_volume"], "contrast": json.loads((out / "volume" / "contrast.json").read_text())}
    weights = {"region_volume": load_file(out / "volume" / "weights.safetensors"), "region_decoder": coder.decoder_state()}
    return {"region_volume": about}, weights
