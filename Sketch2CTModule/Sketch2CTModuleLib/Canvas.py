"""Something to draw on when no image is loaded: a bundle's frame, with the average anatomy as faint outlines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import slicer
from numpy.typing import NDArray

from sketch2ct.anatomy import resolve, vocabulary
from sketch2ct.errors import BundleCorrupt, Sketch2CTError
from sketch2ct.geometry import Grid
from sketch2ct.provenance import PREFIX, read_json

from .BundleFacts import BundleFacts
from .NiftiImage import NiftiImage
from .SegmentationBuilder import SegmentationBuilder
from .ViewFitter import ViewFitter

ROLE, BUNDLE = f"{PREFIX}role", f"{PREFIX}bundle"
_AIR_HU = -1000
_OPACITY, _THICKNESS = 0.5, 2  # thinner or fainter lines are lost on black


class Canvas:
    """At most one canvas in the scene: a volume of air and, if the bundle has one, a guide. Neither is a result."""

    def __init__(self, scene: Any = None, appLogic: Any = None, builder: SegmentationBuilder | None = None) -> None:
        self._scene = scene or slicer.mrmlScene
        self._appLogic = appLogic or slicer.app.applicationLogic()
        self._builder = builder or SegmentationBuilder()
        self._before: dict[str, str] = {}  # composite node -> background volume

    def node(self) -> Any:
        """The canvas volume, also one that came with an opened scene; None when there is none."""
        return self._find("vtkMRMLScalarVolumeNode", "canvas")

    def guide(self) -> Any:
        """The guide's segmentation; None when there is none."""
        return self._find("vtkMRMLSegmentationNode", "guide")

    def show(self, bundleFolder: Path) -> Any:
        """Put the bundle's empty frame behind every slice view, fitted, its guide over it; the volume.

        A canvas of the same bundle that exists is used again. Raises BundleCorrupt; the scene is then as before.
        """
        facts = BundleFacts.read(bundleFolder)
        if self.node() is None or self.node().GetAttribute(BUNDLE) != facts.name:
            guide = _readGuide(Path(bundleFolder), facts)
            self.remove()
            self._build(facts, guide)
        volume = self.node()
        for composite in self._composites():
            if composite.GetBackgroundVolumeID() != volume.GetID():
                self._before[composite.GetID()] = composite.GetBackgroundVolumeID() or ""
                composite.SetBackgroundVolumeID(volume.GetID())
        self.setGuideVisible(True)
        self._fitViews()
        return volume

    def remove(self) -> None:
        """Take canvas and guide away; slice views that show it get back what they showed before."""
        volume = self.node()
        if volume is not None:
            for composite in self._composites():
                if composite.GetBackgroundVolumeID() == volume.GetID():
                    before = self._before.get(composite.GetID(), "")
                    composite.SetBackgroundVolumeID(before if self._scene.GetNodeByID(before) else None)
        self._before.clear()
        for node in (volume, self.guide()):
            if node is not None:
                display = node.GetDisplayNode()
                self._scene.RemoveNode(node)
                if display is not None:
                    self._scene.RemoveNode(display)

    def setGuideVisible(self, visible: bool) -> None:
        """Show or hide the guide's outlines."""
        guide = self.guide()
        if guide is not None:
            guide.GetDisplayNode().SetVisibility(visible)

    def centreOf(self, structure: str) -> NDArray[np.float64] | None:
        """Where the guide has a structure: the middle of its box, RAS mm; None when it has not."""
        guide = self.guide()
        if guide is None or guide.GetSegmentation().GetSegment(structure) is None:
            return None
        surface = guide.GetClosedSurfaceInternalRepresentation(structure)
        if surface is None or not surface.GetNumberOfPoints():
            return None
        return np.reshape(surface.GetBounds(), (3, 2)).mean(axis=1)

    def _fitViews(self) -> None:
        """All of the guide in sight, the slices through the middle of its structures."""
        fitter = ViewFitter(self._scene, self._appLogic)
        fitter.fitWhole(self.guide() or self.node())
        inner = [self.centreOf(name) for name, structure in vocabulary().items() if not structure.derived]
        known = [centre for centre in inner if centre is not None]
        if known:
            fitter.sliceThrough(np.mean(known, axis=0))

    def _find(self, kind: str, role: str) -> Any:
        for number in range(self._scene.GetNumberOfNodesByClass(kind)):
            node = self._scene.GetNthNodeByClass(number, kind)
            if node.GetAttribute(ROLE) == role:
                return node
        return None

    def _composites(self) -> list[Any]:
        logics = self._appLogic.GetSliceLogics()
        nodes = [logics.GetItemAsObject(n).GetSliceCompositeNode() for n in range(logics.GetNumberOfItems())]
        return [node for node in nodes if node is not None]

    def _build(self, facts: BundleFacts, guide: tuple[NiftiImage, dict[int, str]] | None) -> None:
        self._scene.StartState(slicer.vtkMRMLScene.BatchProcessState)
        try:
            self._addVolume(facts)
            if guide is not None:
                self._addGuide(facts, *guide)
        finally:
            self._scene.EndState(slicer.vtkMRMLScene.BatchProcessState)

    def _addVolume(self, facts: BundleFacts) -> None:
        node = slicer.vtkMRMLScalarVolumeNode()
        node.SetName("Sketch2CT canvas")
        node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(facts.frame.affine))
        slicer.util.updateVolumeFromArray(node, np.full(facts.frame.shape[::-1], _AIR_HU, dtype=np.int16))
        node = self._add(node, "canvas", facts)
        node.GetDisplayNode().AutoWindowLevelOff()
        node.GetDisplayNode().SetWindowLevel(*facts.window)

    def _addGuide(self, facts: BundleFacts, labels: NiftiImage, names: dict[int, str]) -> None:
        node = slicer.vtkMRMLSegmentationNode()
        node.SetName("Sketch2CT guide")
        node.SetHideFromEditors(True)  # or Segment Editor would offer it for editing
        inner = {value: name for value, name in names.items() if not vocabulary()[name].derived}
        self._builder.fill(node, labels, inner)
        for value in names.keys() - inner.keys():  # the body encloses all the others
            enclosing = NiftiImage((labels.array > 0).astype(np.uint8) * np.uint8(value), labels.grid)
            self._builder.fill(node, enclosing, {value: names[value]})
        node = self._add(node, "guide", facts)
        display = node.GetDisplayNode()
        # Cuts of the smooth surfaces: on voxels of several millimetres the outlines of an image are stairs.
        display.SetPreferredDisplayRepresentationName2D(slicer.vtkSegmentationConverter.GetClosedSurfaceRepresentationName())
        display.SetVisibility2DFill(False)
        display.SetVisibility3D(False)
        display.SetOpacity2DOutline(_OPACITY)
        display.SetSliceIntersectionThickness(_THICKNESS)

    def _add(self, node: Any, role: str, facts: BundleFacts) -> Any:
        node.SetAttribute(ROLE, role)
        node.SetAttribute(BUNDLE, facts.name)
        node = self._scene.AddNode(node)
        node.CreateDefaultDisplayNodes()
        return node


def _readGuide(folder: Path, facts: BundleFacts) -> tuple[NiftiImage, dict[int, str]] | None:
    """The guide's label map and its names (value -> structure); None for a bundle without one."""
    path = folder / "guide.nii.gz"
    if not path.is_file():
        return None
    try:
        labels = NiftiImage.read(path)
        names = {int(value): resolve(name) for value, name in read_json(folder / "guide.json").items()}
    except (Sketch2CTError, ValueError) as error:
        raise BundleCorrupt(f"The guide of the bundle '{facts.name}' is damaged: {error}", "Install the bundle again.") from error
    off = np.abs(_outerBox(labels.grid) - _outerBox(facts.frame))
    if (off > facts.frame.spacing).any():  # finer voxels than the frame's are welcome
        raise BundleCorrupt(f"The guide of the bundle '{facts.name}' is not on its frame.", "Install the bundle again.")
    return labels, names


def _outerBox(grid: Grid) -> NDArray[np.float64]:
    """Lowest and highest RAS mm of a grid, voxels' halves included, (2, 3)."""
    half = np.abs(grid.affine[:3, :3]).sum(axis=1) / 2
    corners = grid.corners()
    return np.stack([corners.min(axis=0) - half, corners.max(axis=0) + half])
