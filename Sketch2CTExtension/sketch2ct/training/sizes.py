"""The networks of a recipe: what it names, completed by what follows from the data."""

from __future__ import annotations

from typing import Any

from .. import describe
from ..conditioning import text
from ..modality import of
from ..networks.mask_unet import MaskNetworkSize
from ..networks.region_unet import RegionNetworkSize
from ..networks.volume_unet import VolumeNetworkSize
from .prepare import label_names


def mask_size(settings: dict[str, Any]) -> MaskNetworkSize:
    """The mask network of a recipe."""
    given = {"text_width": text.WIDTH, "facts": len(describe.FACTS), "structures": len(settings["structures"])}
    return MaskNetworkSize.from_dict({**settings["mask"]["network"], **given})


def region_size(settings: dict[str, Any]) -> RegionNetworkSize:
    """The whole-region network of a recipe."""
    derived = len(of(settings).derived)
    given = {"classes": 1 + derived + len(settings["structures"]), "first": 1 + derived}
    return RegionNetworkSize.from_dict({**settings["mask"]["network"], **given, "text_width": text.WIDTH, "facts": len(describe.FACTS)})


def volume_size(settings: dict[str, Any]) -> VolumeNetworkSize:
    """The volume network of a recipe."""
    given = {"latent": settings["autoencoder"]["network"]["latent"], "labels": len(label_names(settings))}
    return VolumeNetworkSize.from_dict({**settings["volume"]["network"], **given})
