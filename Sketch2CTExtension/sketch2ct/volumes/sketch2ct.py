"""Sketch2CT's volume stage: label map -> CT latent by rectified flow -> HU. As published, neither text nor sketch reaches it."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..bundle import Bundle, reading
from ..errors import BadRequest
from ..geometry import Grid
from ..imaging import LabelVolume
from ..modality import CT, Modality, of
from ..networks.autoencoder import DOWN, AutoencoderSize, CTAutoencoder
from ..networks.volume_unet import VolumeNetwork, VolumeNetworkSize
from .atlas import Atlas
from .latent import LatentVolumes
from .shares import mask_of, share_on


class Sketch2CTVolumes(LatentVolumes):
    """A volume generator: any subset of the bundle's labels; structures that the bundle does not know are ignored."""

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
        super().__init__(net, autoencoder, spacing, steps, device, temperature=temperature, guidance=guidance, modality=modality)
        self.atlas, self.names = atlas, names

    @classmethod
    def from_bundle(cls, bundle: Bundle, device: torch.device) -> Sketch2CTVolumes:
        """The generator that a bundle holds; only training needs the encoder half of the autoencoder. Raises BadRequest for a bundle
        of another system, or BundleCorrupt."""
        if "region_volume" in bundle.metadata and "volume" not in bundle.metadata:
            raise BadRequest(f"The bundle '{bundle.name}' holds no CT model of Sketch2CT.", "Use its volume generator, 'guidegen'.")
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

    def given(self, labels: LabelVolume, text: str, grid: Grid) -> tuple[Tensor, ...]:
        """Label channels and atlas; the text is not heard."""
        both = self.channels(labels, grid), self.surroundings(labels, grid)
        return tuple(torch.from_numpy(values)[None].to(self.device) for values in both)

    def channels(self, labels: LabelVolume, grid: Grid) -> NDArray[np.float32]:
        """The label map as the network takes it: (labels, i, j, k) in 0..1, the share of each voxel; zeros where not given."""
        result = np.zeros((len(self.names), *grid.shape), np.float32)
        for n, name in enumerate(self.names):
            mask = mask_of(labels, name)
            if mask is not None:
                result[n] = share_on(mask, labels.grid, grid)
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
