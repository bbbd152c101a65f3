"""A run in the scene: what its nodes are marked with, and how to find it again after a scene was saved and opened."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import slicer
import vtk

from sketch2ct.provenance import PREFIX

from .Sample import Sample

RUN, SAMPLE = f"{PREFIX}run", f"{PREFIX}sample"  # attributes of nodes; the first one also of the folder
SEGMENTATION_ROLE = "sketch2ctSegmentation"  # node reference from a CT to the mask that it was made from
_MARKED = ("vtkMRMLTextNode", "vtkMRMLScalarVolumeNode", "vtkMRMLSegmentationNode")


@dataclass
class Run:
    """One run of the generator: its samples in order, the record of requests and manifests, its hierarchy folder."""

    id: str
    samples: list[Sample] = field(default_factory=list)
    record: slicer.vtkMRMLTextNode | None = None
    folderItem: int = 0

    @property
    def name(self) -> str:
        """The name of its folder."""
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
        return hierarchy.GetItemName(self.folderItem) if self.folderItem else ""

    @classmethod
    def fromScene(cls, scene: slicer.vtkMRMLScene) -> list[Run]:
        """Every run of which a segmentation or a volume is left, oldest first."""
        runs: dict[str, Run] = {}
        for node in _marked(scene):
            run = runs.setdefault(node.GetAttribute(RUN), cls(node.GetAttribute(RUN)))
            if node.IsA("vtkMRMLTextNode"):
                run.record = node
            else:
                _place(run, node)
        for run in runs.values():
            run.samples.sort(key=lambda sample: sample.number)
            run.folderItem = _folder(scene, run.id)
            _read(run)
        return [run for run in runs.values() if run.samples]


def _marked(scene: slicer.vtkMRMLScene) -> Iterator[Any]:
    for kind in _MARKED:
        for number in range(scene.GetNumberOfNodesByClass(kind)):
            node = scene.GetNthNodeByClass(number, kind)
            if node.GetAttribute(RUN):
                yield node


def _place(run: Run, node: Any) -> None:
    """A volume or segmentation into the sample that it belongs to."""
    text = node.GetAttribute(SAMPLE) or ""
    number = int(text) if text.isdecimal() else 1
    sample = next((sample for sample in run.samples if sample.number == number), None)
    if sample is None:
        sample = Sample(number, None, None)
        run.samples.append(sample)
    # The first one counts: what comes later is a copy that the user made.
    if node.IsA("vtkMRMLSegmentationNode"):
        sample.segmentation = sample.segmentation or node
    else:
        sample.volume = sample.volume or node
        sample.segmentation = sample.segmentation or node.GetNodeReference(SEGMENTATION_ROLE)


def _folder(scene: slicer.vtkMRMLScene, run: str) -> int:
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    items = vtk.vtkIdList()
    hierarchy.GetItemChildren(hierarchy.GetSceneItemID(), items, True)
    found = [items.GetId(n) for n in range(items.GetNumberOfIds()) if hierarchy.GetItemAttribute(items.GetId(n), RUN) == run]
    return found[0] if found else 0


def _read(run: Run) -> None:
    """Manifests, requests and folders from the record into the samples."""
    try:
        stated = {item["sample"]: item for item in json.loads(run.record.GetText())["samples"]} if run.record else {}
    except (ValueError, KeyError, TypeError):  # edited by hand: the images are worth showing all the same
        stated = {}
    for sample in run.samples:
        item = stated.get(sample.number, {})
        sample.manifest, sample.request = item.get("manifest", {}), item.get("request", {})
        folder = Path(item["folder"]) if item.get("folder") else None
        sample.folder = folder if folder and folder.is_dir() else None
