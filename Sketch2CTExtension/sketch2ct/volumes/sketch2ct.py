"""Sketch2CT's volume stage: label map -> CT latent by rectified flow -> HU. As published, neither text nor sketch reaches it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from ..bundle import Bundle, reading
from ..diffusion import flow
from ..errors import BadRequest
from ..generation import Progress
from ..geometry import Grid
from ..imaging import CTVolume, LabelVolume, resample
from ..modality import CT, Modality, of
from ..networks.autoencoder import DOWN, AutoencoderSize, CTAutoencoder
from ..networks.patches import PATCH
from ..networks.volume_unet import VolumeNetwork, VolumeNetworkSize
from .atlas import Atlas

MAX_CELLS = 400_000  # latent cells; about 25 million voxels of the model's spacing


class Sketch2CTVolumes:
    """A volume generator: any subset of the bundle's labels, on any grid of the size of a region of the body.

    `temperature` scales the noise that sampling starts from: below 1, samples stay nearer to the most expected CT. `guidance` above 1
    pushes away from what the network would make without the labels (classifier-free, arXiv 2207.12598), at twice the time.
    """

    def __init__(
        self,
        net: VolumeNetwork,
        autoencoder: CTAutoencoder,
        atlas: Atlas,
        names: tuple[str, ...],
        spacing: tuple[float, float, float],
        steps: int,
        device: torch.device,
        *,
        temperature: float = 1.0,
        guidance: float = 1.0,
        modality: Modality = CT,
    ) -> None:
        self.net, self.autoencoder = net.to(device).eval(), autoencoder.to(device).eval()
        self.atlas, self.names, self.spacing, self.steps, self.device = atlas, names, spacing, steps, device
        self.temperature, self.guidance, self.modality = temperature, guidance, modality
        self.multiple = DOWN * PATCH * 2 ** (len(net.size.channels) - 1)  # what the networks can halve

    @classmethod
    def from_bundle(cls, bundle: Bundle, device: torch.device) -> Sketch2CTVolumes:
        """The generator that a bundle holds; only training needs the encoder half of the autoencoder. Raises BundleCorrupt."""
        with reading(bundle, "volumes/sketch2ct"):
            own = bundle.metadata["volume"]
            net = VolumeNetwork(VolumeNetworkSize.from_dict(own["network"]))
            net.load_state_dict(bundle.weights("volume"))
            autoencoder = CTAutoencoder(AutoencoderSize.from_dict(own["autoencoder"]))
            autoencoder.load_decoder(bundle.weights("decoder"))
            spacing = bundle.metadata["frame"]["spacing"]
            values = bundle.weights("atlas")["values"].numpy()
            cells = Grid.centred((0, 0, 0), DOWN * np.asarray(spacing, dtype=float), values.shape[1:])
            atlas = Atlas(values, cells, {name: tuple(place) for name, place in bundle.metadata["placement"].items()})
            names = tuple(own["labels"])
            size = (spacing[0], spacing[1], spacing[2])
            kind = of(bundle.metadata)
            sampling = {"temperature": own["temperature"], "guidance": own["guidance"]}
            return cls(net, autoencoder, atlas, names, size, own["steps"], device, modality=kind, **sampling)

    def generate(self, labels: LabelVolume, text: str, rng: torch.Generator, progress: Progress, *, steps: int | None = None) -> CTVolume:
        """One CT in HU (or an image in the numbers of the bundle's modality) on the grid of `labels`; structures that the bundle does
        not know are ignored. Raises BadRequest."""
        grid = self.working_grid(labels.grid)
        given = torch.from_numpy(self.channels(labels, grid))[None].to(self.device)
        usual = torch.from_numpy(self.surroundings(labels, grid))[None].to(self.device)
        shape = (1, self.net.size.latent, *(n // DOWN for n in grid.shape))
        noise = self.temperature * torch.randn(shape, generator=rng).to(self.device)
        with torch.inference_mode():
            denoise = self._denoiser(given, usual)
            latent = flow.sample(denoise, noise, steps or self.steps, lambda n, of: progress("volume", n, of + 1))
            hu = self.autoencoder.decode(latent)[0, 0].float().cpu().numpy()
        progress("volume", 1, 1)
        on_grid = resample(hu, grid, labels.grid, outside=self.modality.outside)
        limited = np.clip(np.round(on_grid), self.modality.low, self.modality.high)
        return CTVolume(limited.astype(np.int16), labels.grid, self.modality)

    def _denoiser(self, given: Tensor, usual: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        # labels and atlas never change, so they are encoded once
        codes: Any = self.net.codes(given, usual)
        if self.guidance == 1:
            return lambda x, t: self.net.denoise(x, t, codes)
        bare: Any = self.net.codes(torch.zeros_like(given), usual)

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

    def channels(self, labels: LabelVolume, grid: Grid) -> NDArray[np.float32]:
        """The label map as the network takes it: (labels, i, j, k) in 0..1, the share of each voxel; zeros where not given."""
        result = np.zeros((len(self.names), *grid.shape), np.float32)
        # finer labels are blurred to the model's voxel first, or thin parts would fall between its points
        finer = np.abs(np.linalg.inv(labels.grid.affine[:3, :3]) @ np.diag(grid.spacing)).max(axis=1)
        blur = 0.5 * np.sqrt(np.maximum(finer**2 - 1, 0))
        for n, name in enumerate(self.names):
            if labels.has(name):
                share = ndimage.gaussian_filter(labels.mask(name).astype(np.float32), np.where(finer > 1.5, blur, 0))
                result[n] = resample(share, labels.grid, grid)
        return result

    def surroundings(self, labels: LabelVolume, grid: Grid) -> NDArray[np.float32]:
        """The atlas (latent + 1, i/4, j/4, k/4), laid by the given structures; in the middle of the grid when no label is given at all;
        zeros when only others are (body, bone, air), which tell the place themselves."""
        affine = grid.affine.copy()
        affine[:3, :3] *= DOWN
        affine[:3, 3] = grid.to_ras(np.full(3, (DOWN - 1) / 2))
        cells = Grid((grid.shape[0] // DOWN, grid.shape[1] // DOWN, grid.shape[2] // DOWN), affine)
        present = [name for name in labels.names.values() if labels.has(name)]
        middles = {
            name: labels.grid.to_ras(np.argwhere(labels.mask(name)).mean(axis=0)) for name in present if name in self.atlas.placement
        }
        return self.atlas.on(cells, self.atlas.origin(middles) if present else labels.grid.centre)
