"""One sample of a run, in the scene."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import slicer


@dataclass
class Sample:
    """The nodes that a sample is shown with; each is None where it was not made or is no longer in the scene.

    `folder` is the result folder on disk, None when it is gone; `request` and `manifest` are its JSON files.
    """

    number: int  # from 1 on
    segmentation: slicer.vtkMRMLSegmentationNode | None
    volume: slicer.vtkMRMLScalarVolumeNode | None
    manifest: dict[str, Any] = field(default_factory=dict)
    request: dict[str, Any] = field(default_factory=dict)
    folder: Path | None = None

    @property
    def quality(self) -> dict[str, Any]:
        """The manifest's quality readout; empty when there is none."""
        return self.manifest.get("quality") or {}
