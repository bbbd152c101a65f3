"""Stand-in for the desktop's file manager: what `slicer.util.loadScene`, `saveNode`, `saveScene` and their kin call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer

# Kind of file -> endings, node class, storage class. Classes are missing where a logic of Slicer's does the reading.
_KINDS = {
    "SceneFile": ((".mrml", ".mrb"), "", ""),
    "SegmentationFile": ((".seg.nrrd", ".seg.nhdr", ".seg.vtm"), "", ""),
    "MarkupsFile": ((".mrk.json", ".fcsv"), "", ""),
    "VolumeFile": ((".nrrd", ".nhdr", ".nii", ".nii.gz", ".mha", ".mhd"), "", ""),
    "ModelFile": ((".vtk", ".vtp", ".stl", ".ply", ".obj"), "vtkMRMLModelNode", "vtkMRMLModelStorageNode"),
    "TransformFile": ((".tfm", ".h5", ".mat"), "vtkMRMLLinearTransformNode", "vtkMRMLTransformStorageNode"),
    "TableFile": ((".csv", ".tsv"), "vtkMRMLTableNode", "vtkMRMLTableStorageNode"),
    "TextFile": ((".txt", ".json", ".xml"), "vtkMRMLTextNode", "vtkMRMLTextStorageNode"),
}
_LABEL_MAP, _CENTERED, _SINGLE_FILE = 1, 2, 4


class CoreIOManager:
    """Reads and writes with Slicer's own logics and storage nodes."""

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
        node = self._load_node(kind, str(path), properties)
        if node is not None and collection is not None:
            collection.AddItem(node)
        return node is not None

    def _load_scene(self, path: Path, clear: bool, messages: Any) -> bool:
        self._scene.SetRootDirectory(str(path.parent.resolve()))
        if path.suffix == ".mrb":
            return bool(self._scene.ReadFromMRB(str(path), clear, messages))
        self._scene.SetURL(str(path))
        return bool(self._scene.Connect(messages) if clear else self._scene.Import(messages))

    def _load_node(self, kind: str, path: str, properties: dict) -> Any:
        modules = slicer.modules
        name = properties.get("name") or Path(path).name.split(".")[0]
        if kind == "VolumeFile":
            wishes = {"labelmap": _LABEL_MAP, "center": _CENTERED, "singleFile": _SINGLE_FILE}
            options = sum(bit for wish, bit in wishes.items() if properties.get(wish))
            return modules.volumes.logic().AddArchetypeVolume(path, name, options)
        if kind == "SegmentationFile":
            return modules.segmentations.logic().LoadSegmentationFromFile(path, True, name)
        if kind == "MarkupsFile":
            ids = modules.markups.logic().LoadMarkups(path, name)
            return self._scene.GetNodeByID(ids.split(",")[0]) if ids else None
        if kind in _KINDS:
            return self._load_by_storage(kind, path, name)
        raise ValueError(f"No reader for {kind}; known: {', '.join(_KINDS)}.")

    def _load_by_storage(self, kind: str, path: str, name: str) -> Any:
        _, node_class, storage_class = _KINDS[kind]
        node = self._scene.AddNewNodeByClass(node_class, name)
        storage = self._scene.AddNewNodeByClass(storage_class)
        storage.SetFileName(path)
        if not storage.ReadData(node):
            self._scene.RemoveNode(node)
            self._scene.RemoveNode(storage)
            return None
        node.SetAndObserveStorageNodeID(storage.GetID())
        if hasattr(node, "CreateDefaultDisplayNodes"):
            node.CreateDefaultDisplayNodes()
        return node

    def fileType(self, path: str) -> str:
        """The kind with the longest ending that fits."""
        ending = self.extractKnownExtension(path)
        return next((kind for kind, (endings, *_) in _KINDS.items() if ending in endings), "NoFile")

    def fileWriterFileType(self, node: Any) -> str:
        return node.GetClassName()  # a storage node of the node's own does the writing, whatever it is called

    def saveNodes(self, kind: str, properties: dict, messages: Any = None) -> bool:
        path = str(properties["fileName"])
        if kind == "SceneFile":
            return self._save_scene(path, messages)
        node = self._scene.GetNodeByID(properties["nodeID"])
        if node.GetStorageNode() is None:
            storage = self._scene.AddNode(self._new_storage(node, path))
            node.SetAndObserveStorageNodeID(storage.GetID())
        storage = node.GetStorageNode()
        storage.SetFileName(path)
        if "useCompression" in properties:
            storage.SetUseCompression(bool(properties["useCompression"]))
        return bool(storage.WriteData(node))

    def _save_scene(self, path: str, messages: Any) -> bool:
        self._scene.SetRootDirectory(str(Path(path).parent.resolve()))
        if path.endswith(".mrb"):
            return bool(self._scene.WriteToMRB(path, None, messages))
        if path.endswith(".mrml"):
            self._scene.SetURL(path)
            return bool(self._scene.Commit(path, messages))
        Path(path).mkdir(parents=True, exist_ok=True)
        return bool(self._scene.SaveSceneToSlicerDataBundleDirectory(path, None, messages))

    def extractKnownExtension(self, path: str, _node: Any = None) -> str:
        endings = [ending for known, *_ in _KINDS.values() for ending in known if str(path).lower().endswith(ending)]
        return max(endings, key=len) if endings else Path(path).suffix

    def fileWriterExtensions(self, _node: Any) -> list[str]:
        return [f"{kind} (*{ending})" for kind, (endings, *_) in _KINDS.items() for ending in endings]

    def exportNodes(self, ids: list[str], paths: list[str], _properties: dict, harden: bool, _messages: Any = None) -> bool:
        """Write without touching the nodes' own storage; `harden` (world coordinates) is not supported."""
        if harden:
            raise ValueError("The harness exports nodes as they are, without world coordinates.")
        return all(self._export(self._scene.GetNodeByID(node_id), str(path)) for node_id, path in zip(ids, paths, strict=True))

    def _export(self, node: Any, path: str) -> bool:
        storage = self._new_storage(node, path)
        storage.SetFileName(path)
        return bool(storage.WriteData(node))

    def _new_storage(self, node: Any, path: str) -> Any:
        # A text that is short enough for the scene file names no storage class itself.
        known = next((storage for _, kind, storage in _KINDS.values() if kind == node.GetClassName()), "")
        storage = self._scene.CreateNodeByClass(node.GetDefaultStorageNodeClassName(path) or known)
        storage.UnRegister(None)
        return storage
