"""Which sample of a run is shown."""

from __future__ import annotations

from typing import Any

import slicer

from .Run import RUN, Run


class SampleSwitcher:
    """Shows one sample of a run at a time: its CT behind every slice view, its segmentation and nobody else's."""

    def __init__(self, run: Run, appLogic: Any = None) -> None:
        self._run = run
        self._appLogic = appLogic or slicer.app.applicationLogic()
        self.index = 0

    @property
    def count(self) -> int:
        """How many samples there are."""
        return len(self._run.samples)

    def show(self, index: int) -> None:
        """Show sample `index`, from 0 on; out of range is the nearest one.

        Slice views get its CT as background; one of a mask without a CT leaves them as they are. Segmentations of all
        other samples and runs are hidden, the user's own are left alone.
        """
        if not self.count:
            return
        self.index = min(max(index, 0), self.count - 1)
        sample = self._run.samples[self.index]
        if sample.volume is not None and _alive(sample.volume):
            self._setBackground(sample.volume.GetID())
        if _alive(sample.segmentation):
            self._showOnly(sample.segmentation)

    def next(self) -> None:
        """Show the sample after this one; the first after the last."""
        self.show((self.index + 1) % max(self.count, 1))

    def previous(self) -> None:
        """Show the sample before this one; the last before the first."""
        self.show((self.index - 1) % max(self.count, 1))

    def _setBackground(self, volumeID: str) -> None:
        logics = self._appLogic.GetSliceLogics()
        for number in range(logics.GetNumberOfItems()):
            composite = logics.GetItemAsObject(number).GetSliceCompositeNode()
            if composite is not None:
                composite.SetBackgroundVolumeID(volumeID)

    def _showOnly(self, segmentation: Any) -> None:
        scene = segmentation.GetScene()
        for number in range(scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode")):
            node = scene.GetNthNodeByClass(number, "vtkMRMLSegmentationNode")
            if node is not segmentation and node.GetAttribute(RUN) and node.GetDisplayNode():
                node.GetDisplayNode().SetVisibility(False)
        segmentation.CreateDefaultDisplayNodes()
        segmentation.GetDisplayNode().SetVisibility(True)


def _alive(node: Any) -> bool:
    return node is not None and node.GetScene() is not None
