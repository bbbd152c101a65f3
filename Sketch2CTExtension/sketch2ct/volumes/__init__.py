"""Volume generators, one file a published system: label map -> CT."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from ..errors import BadRequest

if TYPE_CHECKING:
    import torch

    from ..bundle import Bundle
    from ..generation import VolumeGenerator

GENERATORS = {"sketch2ct": "Sketch2CTVolumes", "guidegen": "GuideGenVolumes"}


def load(name: str, bundle: Bundle, device: torch.device) -> VolumeGenerator:
    """The volume generator of that name with the bundle's weights, on a device. Raises BadRequest."""
    if name not in GENERATORS:
        raise BadRequest(f"Unknown volume generator '{name}'.", f"Known: {', '.join(GENERATORS)}.")
    generator = getattr(import_module(f".{name}", __name__), GENERATORS[name])
    return generator.from_bundle(bundle, device)
