"""The networks of a recipe: what it names, completed by what follows from the data."""

from __future__ import annotations

from typing import Any

from .. import describe
from ..conditioning import text
from ..modality import of
from ..networks.mask_unet import MaskNetworkSize
from ..networks.region_unet import RegionNetworkSize
from ..networks.volume_unet import VolumeNetworkSize
from ..volumes.class_map import CONTRASTS
from .prepare import label_names


def mask_size(settings: dict[str, Any]) -> MaskNetworkSize:
    """The mask network of a recipe."""
    given = {"text_width": text.WIDTH, "facts": len(describe.FACTS), "structures": len(settings["structures"])}
    return MaskNetworkSize.from_dict({**settings["mask"]["network"], **given})


def region_size(settings: dict[str, Any]) -> RegionNetworkSize:
    """The whole-region network of a recipe."""
    given = {"classes": _classes(settings), "first": 1 + len(of(settings).derived)}
    return RegionNetworkSize.from_dict({**settings["mask"]["network"], **given, "text_width": text.WIDTH, "facts": len(describe.FACTS)})


def volume_size(settings: dict[str, Any]) -> VolumeNetworkSize:
    """The volume network of a recipe."""
    given = {"latent": settings["autoencoder"]["network"]["latent"], "labels": len(label_names(settings))}
    return VolumeNetworkSize.from_dict({**settings["volume"]["network"], **given})


def region_volume_size(settings: dict[str, Any]) -> VolumeNetworkSize:
    """The volume network of a recipe for whole regions: its labels are all classes, outside air included, and contrast; no atlas."""
    given = {"latent": settings["autoencoder"]["network"]["latent"], "labels": _classes(settings) + CONTRASTS, "atlas": False}
    return VolumeNetworkSize.from_dict({**settings["volume"]["network"], **given})


def _classes(settings: dict[str, Any]) -> int:
    return 1 + len(of(settings).derived) + len(settings["structures"])
