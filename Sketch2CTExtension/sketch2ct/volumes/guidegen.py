"""GuideGen's CT stage: the label map of a whole region -> CT latent by rectified flow -> HU of the wide range.

A learned, strided encoder reads the map, one class a voxel, body, bone and inner air included; it is trained with the generator. Of the
text only "with contrast" and "without contrast" reach the CT by another way than the map: as told in training by the brightness of the
vessels (`data.contrast`), for no published label says it. Where the training data were all of one kind the words change nothing, and the
manifest says so (`describe.contrast`). Words for a display window never change the HU.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..bundle import Bundle, reading
from ..describe.contrast import contrast
from ..errors import BadRequest
from ..geometry import Grid
from ..imaging import LabelVolume
from ..masks.region_classes import RegionClasses
from ..modality import CT, Modality, of
from ..networks.autoencoder import AutoencoderSize, CTAutoencoder
from ..networks.volume_unet import VolumeNetwork, VolumeNetworkSize
from .class_map import class_map, condition, contrast_number
from .latent import LatentVolumes


class GuideGenVolumes(LatentVolumes):
    """A volume generator for the whole region of one bundle.

    A map that tells the body is complete. Of single structures without one the rest is made up, without an atlas that says what is usual:
    let the surroundings be completed first.
    """

    def __init__(
        self,
        net: VolumeNetwork,
        autoencoder: CTAutoencoder,
        classes: RegionClasses,
        spacing: tuple[float, float, float],
        steps: int,
        device: torch.device,
        *,
        temperature: float = 1.0,
        guidance: float = 1.0,
        modality: Modality = CT,
    ) -> None:
        super().__init__(net, autoencoder, spacing, steps, device, temperature=temperature, guidance=guidance, modality=modality)
        self.classes = classes

    @classmethod
    def from_bundle(cls, bundle: Bundle, device: torch.device) -> GuideGenVolumes:
        """The generator that a bundle holds. Raises BadRequest for a bundle without one, or BundleCorrupt."""
        known = bundle.metadata
        if "region_volume" not in known:
            raise BadRequest(f"The bundle '{bundle.name}' holds no CT model of GuideGen.", "Choose a bundle for GuideGen.")
        with reading(bundle, "volumes/guidegen"):
            own = known["region_volume"]
            net = VolumeNetwork(VolumeNetworkSize.from_dict(own["network"]))
            net.load_state_dict(bundle.weights("region_volume"))
            autoencoder = CTAutoencoder(AutoencoderSize.from_dict(own["autoencoder"]))
            autoencoder.load_decoder(bundle.weights("region_decoder"))
            classes = RegionClasses(tuple(known["derived"]), tuple(known["structures"]))
            i, j, k = known["frame"]["spacing"]
            return cls(net, autoencoder, classes, (i, j, k), device=device, modality=of(known), **own["sampling"])

    def given(self, labels: LabelVolume, text: str, grid: Grid) -> tuple[Tensor, ...]:
        """The class map and the contrast that is asked for. Raises BadRequest for a map that is empty or holds what the bundle
        does not know."""
        found = torch.from_numpy(class_map(labels, self.classes, grid))[None].to(self.device)
        asked = torch.tensor([contrast_number(contrast(text))], device=self.device)
        return (condition(found, self.classes.count, asked),)
