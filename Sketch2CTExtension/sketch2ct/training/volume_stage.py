"""Training of the volume model: CT latents given any subset of the labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from ..anatomy import vocabulary
from ..data.scans import Scan
from ..diffusion import flow
from ..geometry import Grid
from ..networks.autoencoder import DOWN, CTAutoencoder
from ..networks.volume_unet import VolumeNetwork, VolumeNetworkSize
from ..volumes.atlas import Atlas
from .autoencoder_stage import encode_scan
from .loop import Endless, Stage


@dataclass
class LatentScan:
    """A scan, straight or mirrored, as the volume model sees it.

    `latent` (C, i, j, k) fp16 on `cells`, `known` cells, `labels` (L, 4i, 4j, 4k) uint8 and `available` channels as in `Scan`,
    `middles` of the structures (RAS mm).
    """

    latent: NDArray[np.float16]
    known: NDArray[np.bool_]
    cells: Grid
    labels: NDArray[np.uint8]
    available: NDArray[np.bool_]
    middles: dict[str, NDArray[np.float64]]


def latent_scan(net: CTAutoencoder, scan: Scan, names: tuple[str, ...], *, mirror: bool) -> LatentScan:
    """Encode a scan; a mirrored one has left and right swapped, names too."""
    hu, labels, known, available = scan.hu, scan.labels, scan.known, scan.labelled
    if mirror:
        order = mirror_order(names)
        hu, known, labels, available = hu[::-1], known[::-1], labels[order, ::-1], available[order]
    latent, whole = encode_scan(net, replace(scan, hu=hu, known=known))
    affine = scan.grid.affine.copy()
    affine[:3, :3] *= DOWN
    affine[:3, 3] = scan.grid.to_ras(np.full(3, (DOWN - 1) / 2))
    available = available & labels.any(axis=(1, 2, 3))  # a sliver of a structure can vanish on the model's spacing
    structures = [n for n, name in enumerate(names) if available[n] and not vocabulary()[name].derived]
    middles = {names[n]: scan.grid.to_ras(ndimage.center_of_mass(labels[n].astype(np.float32))) for n in structures}
    cells = Grid((latent.shape[1], latent.shape[2], latent.shape[3]), affine)
    return LatentScan(latent.numpy(), whole.numpy(), cells, np.ascontiguousarray(labels), available, middles)


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


Window = tuple[Tensor, Tensor, Tensor, Tensor]  # latent, labels, atlas, known


class LatentBatches(Endless):
    """Endless batches of latent (N, C, i, j, k), labels (N, L, 4i, 4j, 4k), atlas (N, C + 1, i, j, k), known cells (N, 1, i, j, k)."""

    def __init__(
        self, scans: list[LatentScan], atlas: Atlas, names: tuple[str, ...], structures: int, settings: dict[str, Any], seed: int
    ) -> None:
        self.scans, self.atlas, self.names, self.structures = scans, atlas, names, structures
        self.settings, self.seed = settings, seed

    def __iter__(self) -> Iterator[Window]:
        rng = self.rng()
        torch.set_num_threads(1)
        while True:
            picks = [self.scans[int(rng.integers(len(self.scans)))] for _ in range(self.settings["batch"])]
            windows = [self.window(item, rng) for item in picks]
            yield tuple(torch.stack(part) for part in zip(*windows, strict=True))  # type: ignore[misc]

    def window(self, item: LatentScan, rng: np.random.Generator) -> Window:
        """A window of the training size with a random subset of its labels; past the scan's border nothing is known.

        The atlas lies by the structures that are given. Without any it lies where it should, so that an unconditional
        scan is a plausible one, or is left out when derived labels tell the place.
        """
        size = tuple(self.settings["window"])
        given = label_subset(item.available, self.structures, rng)
        starts = random_starts(item.latent.shape[1:], size, rng)
        middles = {name: m for name, m in item.middles.items() if given[self.names.index(name)]}
        if not middles and not given.any():
            middles = item.middles
        affine = item.cells.affine.copy()
        affine[:3, 3] = item.cells.to_ras(starts)
        atlas = self.atlas.on(Grid((size[0], size[1], size[2]), affine), self.atlas.origin(middles))
        latent = cut(item.latent.astype(np.float32), starts, size)
        known = cut(item.known[None].astype(np.float32), starts, size)
        labels = np.zeros((len(self.names), *(DOWN * s for s in size)), np.float32)
        labels[given] = cut(item.labels[given], [DOWN * s for s in starts], tuple(DOWN * s for s in size)).astype(np.float32) / 255
        return torch.from_numpy(latent), torch.from_numpy(labels), torch.from_numpy(atlas), torch.from_numpy(known)


def random_starts(shape: tuple[int, ...], size: tuple[int, ...], rng: np.random.Generator) -> list[int]:
    """Where a window of `size` begins in an array of `shape`: within it, or by up to one cell past its border."""
    return [int(rng.integers(min(0, n - s) - 1, max(0, n - s) + 2)) for n, s in zip(shape, size, strict=True)]


def cut(array: NDArray, starts: list[int], size: tuple[int, ...]) -> NDArray:
    """A window of the last three axes, zeros past the border."""
    result = np.zeros((array.shape[0], *size), array.dtype)
    source = [slice(max(0, a), max(0, min(n, a + s))) for a, n, s in zip(starts, array.shape[1:], size, strict=True)]
    target = [slice(x.start - a, x.stop - a) for x, a in zip(source, starts, strict=True)]
    result[(slice(None), *target)] = array[(slice(None), *source)]
    return result


class VolumeStage(Stage):
    """Clean-latent regression at random times over the known cells, weighted as a velocity loss with a floor.

    Cells inside a given structure count 1 + `emphasis` times in training: small structures would else hardly be heard, and such a weight,
    which depends on the condition alone, leaves the best answer of every cell what it is.
    """

    net: VolumeNetwork
    channels: Tensor

    def __init__(
        self, settings: dict[str, Any], out: Path, minutes: float, size: VolumeNetworkSize, checks: list[Any], structures: int
    ) -> None:
        super().__init__(settings, out, minutes)
        self.net = VolumeNetwork(size)
        self.checks, self.structures = checks, slice(0, structures)
        # how much each channel of the latent counts
        self.register_buffer("channels", torch.ones(size.latent, 1, 1, 1), persistent=False)

    def opened(self, batch: Any) -> Window:
        """A batch as the network takes it."""
        return batch

    def _error(self, batch: Any, t: Tensor, noise: Tensor, emphasis: float = 0.0) -> Tensor:
        """Weighted mean squared error (N,) of the clean latent over known cells."""
        latent, labels, atlas, known = self.opened(batch)
        clean = self.net(flow.mix(latent, noise, t), t * flow.SCALE, labels, atlas).float()
        weight = known
        if emphasis:
            inside = functional.avg_pool3d(labels[:, self.structures].amax(dim=1, keepdim=True), DOWN)
            weight = known * (1 + emphasis * inside)
        return ((clean - latent) ** 2 * self.channels * weight).sum((1, 2, 3, 4)) / (weight.sum((1, 2, 3, 4)) * latent.shape[1]).clamp_min(
            1
        )

    def loss(self, batch: Any) -> dict[str, Tensor]:
        """Loss terms; `square` is the unweighted error."""
        latent = batch[0]
        t = torch.sigmoid(torch.randn(len(latent), device=self.device) * 1.0 + 0.4)
        error = self._error(batch, t, torch.randn_like(latent), self.settings.get("emphasis", 0.0))
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
