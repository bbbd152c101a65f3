"""The case under review in the scene: always the same nodes, filled anew for each case."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer

from sketch2ct.provenance import PREFIX

from .BundleFacts import SOFT_TISSUE
from .Canvas import ROLE
from .ReviewCurves import ReviewCurves
from .ReviewImages import ReviewImages
from .Run import RUN
from .SegmentationBuilder import SegmentationBuilder
from .ViewFitter import ViewFitter

REVIEW, CASE = "review", f"{PREFIX}case"
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
            self._showVolume(images, f"{kind} CT {label}")
            self._showMask(images, f"{kind} mask {label}")
            self._curves.show([] if blind else images.sketches)
            for node in (self.volume, self.segmentation):
                node.SetAttribute(CASE, None if blind else images.name)
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

    def _showVolume(self, images: ReviewImages, name: str) -> None:
        node = self.volume or self._add(_VOLUME)
        node.SetName(name)
        if images.ct is None or images.voxels is None:
            self._background(None)
            return
        change = node.StartModify()
        node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(images.ct.grid.affine))
        old = slicer.util.arrayFromVolume(node) if node.GetImageData() is not None else None
        if old is not None and old.shape == images.voxels.shape and old.dtype == images.voxels.dtype:
            old[:] = images.voxels
            slicer.util.arrayFromVolumeModified(node)
        else:
            slicer.util.updateVolumeFromArray(node, images.voxels)
        node.EndModify(change)
        if node.GetDisplayNode() is None:
            node.CreateDefaultDisplayNodes()
            node.GetDisplayNode().SetSaveWithScene(False)
            node.GetDisplayNode().AutoWindowLevelOff()
            node.GetDisplayNode().SetWindowLevel(*SOFT_TISSUE)  # later cases keep what the user has set
        self._background(node.GetID())

    def _showMask(self, images: ReviewImages, name: str) -> None:
        node = self.segmentation or self._add(_SEGMENTATION)
        self._release()
        node.SetName(name)
        node.GetSegmentation().RemoveAllSegments()
        self._builder.fill(node, images.labels, images.names, surfaces=False)
        if images.ct is not None:
            node.SetReferenceImageGeometryParameterFromVolumeNode(self.volume)
        if node.GetDisplayNode() is None:
            node.CreateDefaultDisplayNodes()
            node.GetDisplayNode().SetSaveWithScene(False)
            node.GetDisplayNode().SetOpacity2DFill(0.25)
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
