"""Result folders on disk -> nodes of the scene."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import slicer

from sketch2ct.anatomy import vocabulary
from sketch2ct.errors import BadRequest

from .BundleFacts import SOFT_TISSUE
from .NiftiImage import NiftiImage
from .Run import RUN, SAMPLE, SEGMENTATION_ROLE, Run
from .Sample import Sample
from .SampleFiles import SampleFiles
from .SegmentationBuilder import SegmentationBuilder

_NAMED = 3  # structures in a folder's name; the others are counted


class ResultLoader:
    """Brings the samples of a run into the scene, all of them or, when a file is wrong, nothing."""

    def __init__(self, scene: Any = None, builder: SegmentationBuilder | None = None) -> None:
        self._scene = scene or slicer.mrmlScene
        self._builder = builder or SegmentationBuilder()

    def load(self, folders: Sequence[Path], segmentation: Any = None, window: tuple[float, float] = SOFT_TISSUE) -> Run:
        """A segmentation and a CT per folder, a record of requests and manifests, and a hierarchy folder around them.

        With `segmentation`, the mask that the CTs were made from, no mask is loaded. `window` is (window, level) in HU, unless the
        description asks for another display.
        Only the first sample is visible. Raises BadRequest, which names the file that is wrong; the scene is then as before.
        """
        if not folders:
            raise BadRequest("There is no result to load.", "Generate one.")
        files = [SampleFiles.read(folder) for folder in folders]
        run = Run(uuid.uuid4().hex)
        with _allOrNothing(self._scene):
            for number, found in enumerate(files, start=1):
                run.samples.append(self._sample(run, number, found, segmentation, window))
            run.record = self._record(run)
            for sample in run.samples:
                _refer(sample, isGiven=sample.segmentation is segmentation)
            run.folderItem = self._folder(run, files[0])
        return run

    def _sample(self, run: Run, number: int, files: SampleFiles, given: Any, window: tuple[float, float]) -> Sample:
        suffix = f" {number}" if number > 1 else ""
        marks = files.attributes | {RUN: run.id, SAMPLE: str(number)}
        volume = self._volume(f"SYNTHETIC CT{suffix}", files.ct, marks, files.window or window) if files.ct else None
        mask = given
        if mask is None:
            mask = self._segmentation(f"SYNTHETIC segmentation{suffix}", files, marks)
            mask.GetDisplayNode().SetVisibility(number == 1)
        return Sample(number, mask, volume, files.manifest, files.request.to_dict(), files.folder)

    def _volume(self, name: str, image: NiftiImage, marks: dict[str, str], window: tuple[float, float]) -> Any:
        image = image.rightHanded()
        node = slicer.vtkMRMLScalarVolumeNode()
        node.SetName(name)
        node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(image.grid.affine))
        slicer.util.updateVolumeFromArray(node, np.ascontiguousarray(image.array.transpose(2, 1, 0)))
        node = self._add(node, marks)
        node.CreateDefaultDisplayNodes()
        display = node.GetDisplayNode()
        display.AutoWindowLevelOff()
        display.SetWindowLevel(*window)
        return node

    def _segmentation(self, name: str, files: SampleFiles, marks: dict[str, str]) -> Any:
        node = slicer.vtkMRMLSegmentationNode()
        node.SetName(name)
        self._builder.fill(node, files.labels, files.names)
        node = self._add(node, marks)
        node.CreateDefaultDisplayNodes()
        display = node.GetDisplayNode()
        display.SetOpacity2DFill(0.35)
        display.SetOpacity2DOutline(1.0)
        for name in files.names.values():
            if vocabulary()[name].derived:  # body, bone and air surround everything: there for those who want them
                display.SetSegmentVisibility(name, False)
        return node

    def _record(self, run: Run) -> Any:
        node = slicer.vtkMRMLTextNode()
        node.SetName("SYNTHETIC record")
        samples = [{"sample": s.number, "folder": str(s.folder), "request": s.request, "manifest": s.manifest} for s in run.samples]
        node.SetText(json.dumps({"run": run.id, "samples": samples}, indent=1, ensure_ascii=False))
        return self._add(node, {RUN: run.id})

    def _add(self, node: Any, attributes: dict[str, str]) -> Any:
        for key, value in attributes.items():
            node.SetAttribute(key, value)
        return self._scene.AddNode(node)

    def _folder(self, run: Run, files: SampleFiles) -> int:
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(self._scene)
        folder = hierarchy.CreateFolderItem(hierarchy.GetSceneItemID(), _folderName(files))
        hierarchy.SetItemAttribute(folder, RUN, run.id)
        nodes = [node for sample in run.samples for node in (sample.volume, sample.segmentation)] + [run.record]
        for node in nodes:
            if node is not None and node.GetAttribute(RUN) == run.id:  # a given mask stays where the user has it
                item = hierarchy.GetItemByDataNode(node)
                if item:
                    hierarchy.SetItemParent(item, folder)
                else:
                    hierarchy.CreateItem(folder, node)
        return folder


def _refer(sample: Sample, isGiven: bool) -> None:
    """Mask and CT know each other. A given mask that has a reference volume already keeps it."""
    mask, volume = sample.segmentation, sample.volume
    if volume is None or mask is None:
        return
    volume.SetNodeReferenceID(SEGMENTATION_ROLE, mask.GetID())
    if not isGiven or mask.GetNodeReference(slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()) is None:
        mask.SetReferenceImageGeometryParameterFromVolumeNode(volume)


def _folderName(files: SampleFiles) -> str:
    made = files.request.structures() or list(files.names.values())
    spoken = [vocabulary()[name].spoken for name in made]
    what = ", ".join(spoken[:_NAMED]) + (f" and {len(spoken) - _NAMED} more" if len(spoken) > _NAMED else "")
    return f"SYNTHETIC Sketch2CT {what} seed {files.request.seed}"


@contextmanager
def _allOrNothing(scene: Any) -> Iterator[None]:
    """One update of the views at the end; when the block raises, every node that it added is gone again."""
    before = {scene.GetNthNode(n).GetID() for n in range(scene.GetNumberOfNodes())}
    scene.StartState(slicer.vtkMRMLScene.BatchProcessState)
    try:
        yield
    except BaseException:
        for node in [scene.GetNthNode(n) for n in range(scene.GetNumberOfNodes())]:
            if node.GetID() not in before and node.GetScene() is not None:
                scene.RemoveNode(node)
        raise
    finally:
        scene.EndState(slicer.vtkMRMLScene.BatchProcessState)
