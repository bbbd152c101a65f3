"""The case under review in the scene: always the same nodes, filled anew for each case."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import slicer
from numpy.typing import NDArray

from sketch2ct.anatomy import vocabulary
from sketch2ct.geometry import Grid
from sketch2ct.provenance import PREFIX

from .BundleFacts import SOFT_TISSUE
from .Canvas import ROLE
from .ReviewCurves import ReviewCurves
from .ReviewImages import ReviewImages
from .Run import RUN
from .SegmentationBuilder import SegmentationBuilder
from .ViewFitter import ViewFitter

REVIEW, CASE = "review", f"{PREFIX}case"
_BONE, _BONE_HU = (1500.0, 300.0), 500  # window and level; what is denser in the middle of its range is bone
_OUTLINE = 2  # pixels
_VOLUME, _SEGMENTATION = "vtkMRMLScalarVolumeNode", "vtkMRMLSegmentationNode"


class ReviewScene:
    """One volume, one segmentation and the curves of the sketches. The nodes are not saved with the scene: the cohort holds them.

    `edited` is called when the user changes the segmentation.
    """

    def __init__(
        self, scene: Any = None, appLogic: Any = None, fitter: ViewFitter | None = None, edited: Callable[[], None] = lambda: None
    ) -> None:
        self._scene = scene or slicer.mrmlScene
        self._appLogic = appLogic or slicer.app.applicationLogic()
        self._fitter = fitter or ViewFitter(self._scene, self._appLogic)
        self._builder = SegmentationBuilder()
        self._curves = ReviewCurves(self._scene, REVIEW)
        self._edited = edited
        self._watched: tuple[Any, list[int]] | None = None
        self._window: tuple[float, float] | None = None  # as it was set here

    @property
    def volume(self) -> Any:
        """The CT's node; None when there is none."""
        return self._find(_VOLUME)

    @property
    def segmentation(self) -> Any:
        """The mask's node; None when there is none."""
        return self._find(_SEGMENTATION)

    def show(self, images: ReviewImages, label: str, *, blind: bool = False) -> None:
        """Put a case into the nodes and the slice views, at its structure; `label` names it. Surfaces are made by `makeSurfaces`."""
        slicer.app.pauseRender()
        try:
            kind = "Blind" if blind else "SYNTHETIC review"
            case = None if blind else images.name
            self._showVolume(images, f"{kind} CT {label}", case)
            self._showMask(images, f"{kind} mask {label}", case)
            self._curves.show([] if blind else images.sketches)
            self._hideOthers()
            self._fitter.fit([], self.segmentation, self.volume if images.ct is not None else None)
        finally:
            slicer.app.resumeRender()

    def makeSurfaces(self) -> None:
        """Closed surfaces of the mask for the 3D view."""
        if self.segmentation is not None:
            self._whileUnwatched(self.segmentation.CreateClosedSurfaceRepresentation)

    def clear(self) -> None:
        """Show nothing; the nodes stay."""
        if self.segmentation is not None:
            self._whileUnwatched(self.segmentation.GetSegmentation().RemoveAllSegments)
        self._curves.show([])
        self._background(None)

    def remove(self) -> None:
        """Take the nodes away."""
        self._release()
        self._curves.remove()
        for node in (self.volume, self.segmentation):
            if node is not None:
                for number in reversed(range(node.GetNumberOfDisplayNodes())):
                    self._scene.RemoveNode(node.GetNthDisplayNode(number))
                self._scene.RemoveNode(node)

    def _showVolume(self, images: ReviewImages, name: str, case: str | None) -> None:
        node = self.volume or self._add(_VOLUME)
        change = node.StartModify()  # whoever watches the node is told once
        node.SetName(name)
        node.SetAttribute(CASE, case)
        if images.ct is not None and images.voxels is not None:
            _fillVolume(node, images.ct.grid, images.voxels)
        node.EndModify(change)
        if images.ct is None:
            self._background(None)
            return
        if node.GetDisplayNode() is None:
            node.CreateDefaultDisplayNodes()
            node.GetDisplayNode().SetSaveWithScene(False)
            node.GetDisplayNode().AutoWindowLevelOff()
            self._window = _windowLevel(node.GetDisplayNode())
        self._showWindow(node.GetDisplayNode(), images)
        self._background(node.GetID())

    def _showWindow(self, display: Any, images: ReviewImages) -> None:
        """The window that suits the structure, unless the user has chosen another: that one stays for all cases."""
        if _windowLevel(display) == self._window:
            structures = {sketch.structure for sketch in images.sketches} or set(images.names.values())
            bony = all(sum(vocabulary()[name].hu) / 2 > _BONE_HU for name in structures)
            self._window = _BONE if bony else SOFT_TISSUE
            display.SetWindowLevel(*self._window)

    def _showMask(self, images: ReviewImages, name: str, case: str | None) -> None:
        node = self.segmentation or self._add(_SEGMENTATION)
        self._release()
        change = node.StartModify()
        node.SetName(name)
        node.SetAttribute(CASE, case)
        node.EndModify(change)
        node.GetSegmentation().RemoveAllSegments()
        self._builder.fill(node, images.labels, images.names, surfaces=False)
        if images.ct is not None:
            node.SetReferenceImageGeometryParameterFromVolumeNode(self.volume)
        if node.GetDisplayNode() is None:
            node.CreateDefaultDisplayNodes()
            node.GetDisplayNode().SetSaveWithScene(False)
            node.GetDisplayNode().SetOpacity2DFill(0.25)
            node.GetDisplayNode().SetSliceIntersectionThickness(_OUTLINE)
        node.GetDisplayNode().SetVisibility(True)
        self._watch(node)

    def _add(self, kind: str) -> Any:
        node = self._scene.CreateNodeByClass(kind)
        node.UnRegister(None)  # made by a factory: the scene is its owner
        node.SetAttribute(ROLE, REVIEW)
        node.SetSaveWithScene(False)
        node.SetUndoEnabled(False)
        return self._scene.AddNode(node)

    def _find(self, kind: str) -> Any:
        for number in range(self._scene.GetNumberOfNodesByClass(kind)):
            node = self._scene.GetNthNodeByClass(number, kind)
            if node.GetAttribute(ROLE) == REVIEW:
                return node
        return None

    def _background(self, volume: str | None) -> None:
        logics = self._appLogic.GetSliceLogics()
        for number in range(logics.GetNumberOfItems()):
            composite = logics.GetItemAsObject(number).GetSliceCompositeNode()
            if composite is not None:
                composite.SetBackgroundVolumeID(volume)

    def _hideOthers(self) -> None:
        """Masks of runs and the canvas's guide would lie over the case; the user's own segmentations are left alone."""
        for number in range(self._scene.GetNumberOfNodesByClass(_SEGMENTATION)):
            node = self._scene.GetNthNodeByClass(number, _SEGMENTATION)
            ours = node.GetAttribute(RUN) or node.GetAttribute(ROLE)
            if ours and node.GetAttribute(ROLE) != REVIEW and node.GetDisplayNode() is not None:
                node.GetDisplayNode().SetVisibility(False)

    # What the user does to the mask

    def _watch(self, node: Any) -> None:
        segmentation = node.GetSegmentation()
        kind = slicer.vtkSegmentation
        events = (kind.SourceRepresentationModified, kind.SegmentModified, kind.SegmentAdded, kind.SegmentRemoved)
        self._watched = segmentation, [segmentation.AddObserver(event, lambda *_: self._edited()) for event in events]

    def _release(self) -> None:
        if self._watched is not None:
            segmentation, tags = self._watched
            for tag in tags:
                segmentation.RemoveObserver(tag)
        self._watched = None

    def _whileUnwatched(self, action: Callable[[], Any]) -> None:
        self._release()
        action()
        self._watch(self.segmentation)

    def close(self) -> None:
        """Stop observing; the nodes stay."""
        self._release()


def _windowLevel(display: Any) -> tuple[float, float]:
    return display.GetWindow(), display.GetLevel()


def _fillVolume(node: Any, grid: Grid, voxels: NDArray[np.int16]) -> None:
    """Put voxels (k, j, i) on a grid into a volume node, into the same memory if they fit."""
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(grid.affine))
    old = slicer.util.arrayFromVolume(node) if node.GetImageData() is not None else None
    if old is not None and old.shape == voxels.shape and old.dtype == voxels.dtype:
        old[:] = voxels
        slicer.util.arrayFromVolumeModified(node)
    else:
        slicer.util.updateVolumeFromArray(node, voxels)
