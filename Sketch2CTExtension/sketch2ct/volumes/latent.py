"""What the volume generators share: label map -> CT latent by rectified flow -> HU, on a grid of the model's own spacing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ..diffusion import flow
from ..errors import BadRequest
from ..generation import Progress
from ..geometry import Grid
from ..imaging import CTVolume, LabelVolume, resample
from ..modality import CT, Modality
from ..networks.autoencoder import DOWN, CTAutoencoder
from ..networks.patches import PATCH
from ..networks.volume_unet import VolumeNetwork

MAX_CELLS = 400_000  # latent cells; about 25 million voxels of the model's spacing


class LatentVolumes(ABC):
    """A volume generator on any grid of the size of a region of the body; subclasses say how what is given is encoded.

    `temperature` scales the noise that sampling starts from: below 1, samples stay nearer to the most expected CT. `guidance` above 1
    pushes away from what the network would make without the labels (classifier-free, arXiv 2207.12598), at twice the time.
    """

    def __init__(
        self,
        net: VolumeNetwork,
        autoencoder: CTAutoencoder,
        spacing: tuple[float, float, float],
        steps: int,
        device: torch.device,
        *,
        temperature: float = 1.0,
        guidance: float = 1.0,
        modality: Modality = CT,
    ) -> None:
        self.net, self.autoencoder = net.to(device).eval(), autoencoder.to(device).eval()
        self.spacing, self.steps, self.device = spacing, steps, device
        self.temperature, self.guidance, self.modality = temperature, guidance, modality
        self.multiple = DOWN * PATCH * 2 ** (len(net.size.channels) - 1)  # what the networks can halve

    @abstractmethod
    def given(self, labels: LabelVolume, text: str, grid: Grid) -> tuple[Tensor, ...]:
        """What the network is given, on the model's grid: the labels (1, channels, i, j, k), zeros where unknown, then what else it takes
        (`VolumeNetwork.codes`). Raises BadRequest for a map that cannot be used."""

    def generate(self, labels: LabelVolume, text: str, rng: torch.Generator, progress: Progress, *, steps: int | None = None) -> CTVolume:
        """One CT in HU (or an image in the numbers of the bundle's modality) on the grid of `labels`. Raises BadRequest."""
        grid = self.working_grid(labels.grid)
        with torch.inference_mode():
            denoise = self._denoiser(*self.given(labels, text, grid))
            shape = (1, self.net.size.latent, *(n // DOWN for n in grid.shape))
            noise = self.temperature * torch.randn(shape, generator=rng).to(self.device)
            latent = flow.sample(denoise, noise, steps or self.steps, lambda n, of: progress("volume", n, of + 1))
            hu = self.autoencoder.decode(latent)[0, 0].float().cpu().numpy()
        progress("volume", 1, 1)
        on_grid = resample(hu, grid, labels.grid, outside=self.modality.outside)
        limited = np.clip(np.round(on_grid), self.modality.low, self.modality.high)
        return CTVolume(limited.astype(np.int16), labels.grid, self.modality)

    def _denoiser(self, labels: Tensor, *others: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        codes = self.net.codes(labels, *others)  # what is given never changes, so it is encoded once
        if self.guidance == 1:
            return lambda x, t: self.net.denoise(x, t, codes)
        bare = self.net.codes(torch.zeros_like(labels), *others)

        def guided(x: Tensor, t: Tensor) -> Tensor:
            free = self.net.denoise(x, t, bare)
            return torch.lerp(free, self.net.denoise(x, t, codes), self.guidance)

        return guided

    def working_grid(self, target: Grid) -> Grid:
        """The model's own grid (its spacing, RAS axes, sizes the networks can halve) around `target`."""
        corners = target.corners()
        spacing = np.asarray(self.spacing)
        cells = np.ceil(np.ptp(corners, axis=0) / spacing + 1)
        shape = (np.ceil(cells / self.multiple) * self.multiple).astype(int)
        if np.prod(shape // DOWN) > MAX_CELLS:
            size = " x ".join(f"{x:.0f}" for x in np.ptp(corners, axis=0))
            raise BadRequest(f"The frame of {size} mm is larger than this model can fill.", "Use a smaller frame.")
        return Grid.centred((corners.min(0) + corners.max(0)) / 2, spacing, (int(shape[0]), int(shape[1]), int(shape[2])))
