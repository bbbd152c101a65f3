"""Training of the CT autoencoder on crops of real scans; voxels that were never stored are never learnt."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from ..data.scans import Scan
from ..errors import BadRequest
from ..modality import CT, Modality
from ..networks.autoencoder import DOWN, HU_SCALE, AutoencoderSize, CTAutoencoder
from .loop import Endless, Stage
from .windows import shared_window


def random_crop(shape: tuple[int, ...], size: tuple[int, int, int], rng: np.random.Generator) -> Any:
    """A random window of `size` (or the whole axis where that is shorter) in the last three axes of `shape`."""
    starts = [int(rng.integers(0, max(1, n - s + 1))) for n, s in zip(shape[-3:], size, strict=True)]
    return (..., *(slice(a, a + s) for a, s in zip(starts, size, strict=True)))


class CropBatches(Endless):
    """Endless batches of HU and known voxels, each (N, 1, c, c, c) float32."""

    def __init__(self, scans: list[Scan], settings: dict[str, Any], seed: int, modality: Modality = CT) -> None:
        size = settings["crop"]
        self.scans = [scan for scan in scans if min(scan.hu.shape) >= size and scan.known.any()]
        if not self.scans:
            reason = f"No scan is {size} voxels wide, deep and tall, as the autoencoder's crop is."
            raise BadRequest(reason, "Set a smaller crop in the recipe.")
        self.settings, self.seed, self.modality = settings, seed, modality

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        rng = self.rng()
        size = (self.settings["crop"],) * 3
        while True:
            hu: list[np.ndarray] = []
            known: list[np.ndarray] = []
            tries = 0
            while len(hu) < self.settings["batch"]:
                tries += 1
                scan = self.scans[int(rng.integers(len(self.scans)))]
                window = random_crop(scan.hu.shape, size, rng)
                dull = scan.known[window].mean() < 0.5 or (scan.hu[window] > self.modality.body).mean() < 0.1
                if dull and tries < 100:  # mostly air or not stored; when there is little else, it must do
                    continue
                turn = (slice(None, None, int(rng.choice([-1, 1]))),)
                hu.append(scan.hu[window][turn].astype(np.float32))
                known.append(scan.known[window][turn].astype(np.float32))
            yield torch.from_numpy(np.stack(hu)[:, None]), torch.from_numpy(np.stack(known)[:, None])


class AutoencoderStage(Stage):
    """L1 over the wide range, and again where contrast counts; a light pull of the latent to unit size.

    Where contrast counts is the soft-tissue window, or, with `windows` in the settings, one random window a crop, through which the crop
    and its reconstruction are both looked at (see `training.windows`).
    """

    net: CTAutoencoder

    def __init__(
        self,
        settings: dict[str, Any],
        out: Path,
        minutes: float,
        size: AutoencoderSize,
        checks: list[Scan],
        modality: Modality = CT,
    ) -> None:
        super().__init__(settings, out, minutes)
        self.net = CTAutoencoder(size)
        self.checks, self.modality = checks, modality

    def loss(self, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        """Loss terms; `wide` is the mean absolute error over 1000 HU, `soft` or `window` that in the window, in parts of its width."""
        hu, known = batch
        hu = self.net.seen(hu)
        mean, sigma = self.net.posterior(hu)
        mean, sigma = mean.float(), sigma.float()
        made = self.net.reconstruct(mean + sigma * torch.randn_like(mean)).float()
        count = known.sum().clamp_min(1)
        wide = ((made - hu).abs() * known).sum() / count / HU_SCALE
        kl = 0.5 * (mean**2 + sigma**2 - 2 * torch.log(sigma) - 1).mean()
        terms = self._windowed(hu, made, known) if self.settings.get("windows") else self._soft(hu, made, known)
        contrast = sum(terms.values())
        loss = wide + contrast + 0.3 * _edges(hu, made) / HU_SCALE + self.settings["kl_weight"] * kl
        return {"loss": loss, "wide": wide.detach(), "kl": kl.detach(), **{name: term.detach() for name, term in terms.items()}}

    def _soft(self, hu: Tensor, made: Tensor, known: Tensor) -> dict[str, Tensor]:
        low, high = self.modality.soft
        # leaky outside the window, so that a voxel on the wrong side still gets a gradient
        inside = ((hu > low) & (hu < high)) * known
        return {"soft": ((made - hu).abs() * inside).sum() / known.sum().clamp_min(1) / (high - low)}

    def _windowed(self, hu: Tensor, made: Tensor, known: Tensor) -> dict[str, Tensor]:
        own = self.settings["windows"]
        a, b = shared_window(hu, made, own["levels"], own["widths"])
        error = ((a - b).abs() * known).sum() / known.sum().clamp_min(1)
        return {"window": own["weight"] * error, "edge": own["edges"] * _edges(a, b)}

    @torch.inference_mode()
    def check(self) -> dict[str, float]:
        """Mean absolute error (HU, or normalised intensity) on validation scans, by tissue."""
        errors: dict[str, list[float]] = {}
        for scan in self.checks:
            trimmed = tuple(slice(0, n // 8 * 8) for n in scan.hu.shape)
            hu = torch.from_numpy(scan.hu[trimmed].astype(np.float32))[None, None].to(self.device)
            made = self.net.reconstruct(self.net.posterior(hu)[0]).float()
            known = torch.from_numpy(scan.known[trimmed])[None, None].to(self.device)
            for name, (low, high) in self.modality.tissues.items():
                where = known & (hu > low) & (hu < high)
                if where.any():
                    errors.setdefault(f"{name}_hu", []).append(float((made - hu)[where].abs().mean()))
        return {key: float(np.mean(value)) for key, value in errors.items()}


def _edges(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute difference of the steps between neighbours, summed over the three axes."""
    steps = [(b.diff(dim=d) - a.diff(dim=d)).abs().mean() for d in (2, 3, 4)]
    return steps[0] + steps[1] + steps[2]


@torch.no_grad()
def begin_linear(net: CTAutoencoder, scans: list[Scan]) -> None:
    """Let the network's linear part begin at the principal components of the cells that the scans stored whole."""
    blocks = []
    for scan in scans:
        hu = torch.from_numpy(np.ascontiguousarray(scan.hu, np.float32))[None, None]
        known = torch.from_numpy(np.ascontiguousarray(scan.known, np.float32))[None, None]
        stored = torch.nn.functional.avg_pool3d(known, DOWN)[0, 0] > 0.99
        blocks.append(net.cells(hu)[0][:, stored].T)
    net.begin(torch.cat(blocks))


@torch.inference_mode()
def measure_latents(net: CTAutoencoder, scans: list[Scan]) -> None:
    """Set the network's `mean` and `std` (0 and 1 so far) to those of the latents inside the stored part of the scans."""
    values = []
    for scan in scans:
        latent, known = encode_scan(net, scan)
        values.append(latent[:, known].float())
    every = torch.cat(values, dim=1)
    net.std.copy_(every.std(dim=1).clamp_min(1e-3))
    net.mean.copy_(every.mean(dim=1))


@torch.inference_mode()
def encode_scan(net: CTAutoencoder, scan: Scan) -> tuple[Tensor, Tensor]:
    """Latent means (C, i/4, j/4, k/4) float16 of a scan and which cells rest on stored voxels only (bool)."""
    hu = torch.from_numpy(np.ascontiguousarray(scan.hu, np.float32))[None, None]
    known = torch.from_numpy(np.ascontiguousarray(scan.known, np.float32))[None, None]
    share = torch.nn.functional.avg_pool3d(known, 4)
    whole = -torch.nn.functional.max_pool3d(-share, (1, 1, 3), stride=1, padding=(0, 0, 1))  # neighbours along z too
    return net.encode(hu)[0].half(), whole[0, 0] > 0.99


def trained_autoencoder(settings: dict[str, Any], out: Path) -> CTAutoencoder:
    """The autoencoder that the stage of a recipe left in the run `out`. Raises BadRequest when there is none, or not the recipe's."""
    path = out / "autoencoder" / "weights.safetensors"
    if not path.is_file():
        raise BadRequest(f"There is no trained autoencoder in {path.parent}.", "Train the stage 'autoencoder' first.")
    net = CTAutoencoder(AutoencoderSize.from_dict(settings["autoencoder"]["network"])).eval()
    try:
        net.load_state_dict(load_file(path))
    except RuntimeError as error:
        raise BadRequest(f"The autoencoder in {path.parent} is not the recipe's.", "Train the stage 'autoencoder' again.") from error
    return net
