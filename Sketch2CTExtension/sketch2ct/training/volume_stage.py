"""Training of the volume model: CT latents given any subset of the labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import IterableDataset

from ..anatomy import vocabulary
from ..data.scans import Scan
from ..diffusion import flow
from ..networks.autoencoder import DOWN
from ..networks.volume_unet import VolumeNetwork, VolumeNetworkSize
from .loop import Stage


@dataclass
class LatentScan:
    """A scan as the volume model sees it: `latents` [straight, mirrored] (C, i, j, k) fp16, `known` cells, `labels` on voxels."""

    latents: tuple[Tensor, Tensor]
    known: Tensor
    scan: Scan


def label_subset(available: NDArray[np.bool_], structures: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Which of the available channels (structures first, then body, bone, air) are given this time.

    One structure alone, several, all; with and without the derived ones; the derived ones alone; nothing.
    """
    chosen = np.zeros(len(available), dtype=bool)
    have = np.flatnonzero(available[:structures])
    kind = rng.choice(["one", "some", "all", "none"], p=[0.35, 0.2, 0.35, 0.1])
    if kind == "one" and len(have):
        chosen[rng.choice(have)] = True
    elif kind == "some" and len(have):
        chosen[rng.choice(have, int(rng.integers(1, len(have) + 1)), replace=False)] = True
    elif kind == "all":
        chosen[have] = True
    derived = rng.choice(["no", "body", "some", "all"], p=[0.4, 0.2, 0.1, 0.3])
    if derived == "body":
        chosen[structures] = True
    elif derived == "some":
        chosen[structures:] = rng.random(len(available) - structures) < 0.5
    elif derived == "all":
        chosen[structures:] = True
    return chosen & available


def mirror_order(names: tuple[str, ...]) -> list[int]:
    """For each channel, the channel that a left-right mirror turns into it."""
    known = vocabulary()
    return [names.index(known[name].mirror or name) for name in names]


class LatentBatches(IterableDataset):
    """Endless batches of latent (N, C, i, j, k), labels (N, L, 4i, 4j, 4k) and known cells (N, 1, i, j, k)."""

    def __init__(self, scans: list[LatentScan], names: tuple[str, ...], structures: int, settings: dict[str, Any], seed: int) -> None:
        self.scans, self.names, self.structures, self.settings, self.seed = scans, names, structures, settings, seed
        self.mirror = mirror_order(names)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        rng = np.random.default_rng([self.seed, int(torch.initial_seed() % 2**31)])
        torch.set_num_threads(1)
        while True:
            picks = [self.scans[int(rng.integers(len(self.scans)))] for _ in range(self.settings["batch"])]
            windows = [self._window(item, rng) for item in picks]
            yield tuple(torch.stack(part) for part in zip(*windows, strict=True))  # type: ignore[misc]

    def _window(self, item: LatentScan, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """A window of the training size, mirrored half the time; past the scan's border nothing is known."""
        flip = bool(rng.random() < 0.5)
        size = self.settings["window"]
        latent, known = item.latents[int(flip)], item.known.flip(0) if flip else item.known
        labels, available = item.scan.labels, item.scan.labelled
        if flip:
            labels, available = labels[self.mirror, ::-1], available[self.mirror]
        given = label_subset(available, self.structures, rng)
        starts = []
        for n, s in zip(latent.shape[1:], size, strict=True):
            spare = n - s
            starts.append(int(rng.integers(min(0, spare) - 1, max(0, spare) + 2)))
        out_latent = torch.zeros(latent.shape[0], *size)
        out_known = torch.zeros(1, *size)
        out_labels = torch.zeros(len(self.names), *(DOWN * s for s in size))
        source = [slice(max(0, a), min(n, a + s)) for a, n, s in zip(starts, latent.shape[1:], size, strict=True)]
        target = [slice(x.start - a, x.stop - a) for x, a in zip(source, starts, strict=True)]
        fine_source = [slice(DOWN * x.start, DOWN * x.stop) for x in source]
        fine_target = [slice(DOWN * x.start, DOWN * x.stop) for x in target]
        out_latent[(slice(None), *target)] = latent[(slice(None), *source)].float()
        out_known[(slice(None), *target)] = known[tuple(source)].float()
        part = np.ascontiguousarray(labels[(slice(None), *fine_source)][given])
        out_labels[(torch.from_numpy(given), *fine_target)] = torch.from_numpy(part).float() / 255
        return out_latent, out_labels, out_known


class VolumeStage(Stage):
    """Clean-latent regression at random times over the known cells, weighted as a velocity loss with a floor."""

    net: VolumeNetwork

    def __init__(self, settings: dict[str, Any], out: Path, minutes: float, size: VolumeNetworkSize, checks: list[tuple]) -> None:
        super().__init__(settings, out, minutes)
        self.net = VolumeNetwork(size)
        self.checks = checks

    def _error(self, batch: tuple[Tensor, Tensor, Tensor], t: Tensor, noise: Tensor) -> Tensor:
        """Squared error (N,) of the clean latent over known cells."""
        latent, labels, known = batch
        clean = self.net(flow.mix(latent, noise, t), t * flow.SCALE, labels).float()
        return ((clean - latent) ** 2 * known).sum((1, 2, 3, 4)) / (known.sum((1, 2, 3, 4)) * latent.shape[1]).clamp_min(1)

    def loss(self, batch: tuple[Tensor, Tensor, Tensor]) -> dict[str, Tensor]:
        """Loss terms; `square` is the unweighted error."""
        latent = batch[0]
        t = torch.sigmoid(torch.randn(len(latent), device=self.device) * 1.0 + 0.4)
        error = self._error(batch, t, torch.randn_like(latent))
        return {"loss": (error / (t**2 + 0.1)).mean(), "square": error.mean().detach()}

    @torch.inference_mode()
    def check(self) -> dict[str, float]:
        """Error of the clean latent on validation windows at three times."""
        figures: dict[str, list[float]] = {}
        for n, window in enumerate(self.checks):
            batch = tuple(x[None].to(self.device) for x in window)
            noise = torch.randn(batch[0].shape, generator=torch.Generator().manual_seed(n)).to(self.device)
            for t in (0.3, 0.7, 1.0):
                figures.setdefault(f"error_{t}", []).append(float(self._error(batch, torch.tensor([t], device=self.device), noise)))
        return {key: float(np.mean(value)) for key, value in figures.items()}
