"""What the module needs to know of a bundle, from its metadata alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sketch2ct.errors import BadRequest, BundleCorrupt
from sketch2ct.geometry import Grid
from sketch2ct.provenance import read_json

SOFT_TISSUE = (350.0, 40.0)  # window and level, HU


@dataclass(frozen=True)
class BundleFacts:
    """A bundle's name, its frame centred on the origin, and the window and level (HU) that suit its region."""

    name: str
    frame: Grid
    window: tuple[float, float] = SOFT_TISSUE

    @classmethod
    def read(cls, folder: Path) -> BundleFacts:
        """From `configs/metadata.json`; `window` there is [window, level] and may be missing. Raises BundleCorrupt."""
        path = Path(folder) / "configs" / "metadata.json"
        try:
            metadata = read_json(path)
            i, j, k = (int(n) for n in metadata["frame"]["shape"])
            frame = Grid.centred(np.zeros(3), metadata["frame"]["spacing"], (i, j, k))
            window, level = (float(n) for n in metadata.get("window", SOFT_TISSUE))
        except (BadRequest, KeyError, TypeError, ValueError) as error:
            raise BundleCorrupt(f"{path} has no usable frame: {error}.", "Install the bundle again.") from error
        return cls(Path(folder).name, frame, (window, level))
