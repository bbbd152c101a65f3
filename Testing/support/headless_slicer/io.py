"""Stand-in for the desktop's file manager: what `slicer.util.loadScene`, `loadVolume` and their kin call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer


class CoreIOManager:
    """Loads scenes, volumes, segmentations and markups with Slicer's own logics and storage nodes."""

    def __init__(self, scene: Any, app_logic: Any, cache: Path) -> None:
        self._scene = scene
        # Reading a .mrb needs a data manager with a cache folder, even if nothing is remote.
        self._remote = slicer.vtkMRMLRemoteIOLogic()
        self._remote.SetMRMLScene(scene)
        self._remote.SetMRMLApplicationLogic(app_logic)
        self._remote.GetCacheManager().SetRemoteCacheDirectory(str(cache))
        self._remote.AddDataIOToScene()
        self._data = slicer.vtkDataIOManagerLogic()
        self._data.SetMRMLApplicationLogic(app_logic)
        self._data.SetMRMLScene(scene)
        self._data.SetAndObserveDataIOManager(self._remote.GetDataIOManager())

    def loadNodes(self, kind: str, properties: dict, collection: Any = None, messages: Any = None) -> bool:
        path = Path(properties["fileName"])
        if not path.is_file():
            return False
        if kind == "SceneFile":
            return self._load_scene(path, bool(properties.get("clear", False)), messages)
        node = self._load_node(kind, str(path), properties.get("name") or path.name.split(".")[0])
        if node is not None and collection is not None:
            collection.AddItem(node)
        return node is not None

    def _load_scene(self, path: Path, clear: bool, messages: Any) -> bool:
        self._scene.SetRootDirectory(str(path.parent.resolve()))
        if path.suffix == ".mrb":
            return bool(self._scene.ReadFromMRB(str(path), clear, messages))
        self._scene.SetURL(str(path))
        return bool(self._scene.Connect(messages) if clear else self._scene.Import(messages))

    def _load_node(self, kind: str, path: str, name: str) -> Any:
        modules = slicer.modules
        if kind == "VolumeFile":
            return modules.volumes.logic().AddArchetypeVolume(path, name, 0)
        if kind == "SegmentationFile":
            return modules.segmentations.logic().LoadSegmentationFromFile(path, True, name)
        if kind == "MarkupsFile":
            ids = modules.markups.logic().LoadMarkups(path, name)
            return self._scene.GetNodeByID(ids.split(",")[0]) if ids else None
        raise ValueError(f"No reader for {kind}; known: SceneFile, VolumeFile, SegmentationFile, MarkupsFile.")
