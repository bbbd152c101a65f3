"""Stand-ins for the qMRML widgets in which a user picks a node of the scene."""

from __future__ import annotations

from typing import Any

import shiboken6
import slicer
from PySide6.QtCore import Property, Signal
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QTreeView, QWidget

from .stored_property import stored

_CREATE = "Create new "


class SceneHolder:
    """Keeps the scene a widget was given. A missing `mrmlSceneChanged` connection leaves it without, as in Slicer."""

    def mrmlScene(self) -> Any:
        return self.__dict__.get("_scene")

    def setMRMLScene(self, scene: Any) -> None:
        self.__dict__["_scene"] = scene
        self._scene_changed(scene)
        changed = getattr(self, "mrmlSceneChanged", None)
        if changed is not None:
            changed.emit(scene)

    def _scene_changed(self, scene: Any) -> None:
        """For those who watch the scene."""


class qMRMLNodeComboBox(SceneHolder, QWidget):
    """Lists the scene's nodes of some classes; picks the first one by itself unless `noneEnabled`."""

    CPP_SIGNALS = (
        "currentNodeChanged(vtkMRMLNode*)",
        "currentNodeChanged(bool)",
        "currentNodeIDChanged(QString)",
        "nodeAddedByUser(vtkMRMLNode*)",
        "nodeActivated(vtkMRMLNode*)",
        "nodeAboutToBeRemoved(vtkMRMLNode*)",
    )
    currentNodeChanged = Signal(object)
    currentNodeIDChanged = Signal(str)
    nodeAddedByUser = Signal(object)
    nodeActivated = Signal(object)
    nodeAboutToBeRemoved = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._observed: list[tuple[Any, int]] = []
        self._entries: list[str | None] = []
        self._attributes: list[tuple[str, str, str | None]] = []
        self._current: str | None = None
        self._none_wanted = False
        self._combo = QComboBox()
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._combo)
        self._combo.currentIndexChanged.connect(self._on_index)
        self._combo.activated.connect(self._on_activated)

    nodeTypes = stored("QStringList", "nodeTypes", [], changed="_refresh")
    noneEnabled = stored(bool, "noneEnabled", False, changed="_refresh")
    addEnabled = stored(bool, "addEnabled", True, changed="_refresh")
    showHidden = stored(bool, "showHidden", False, changed="_refresh")
    showChildNodeTypes = stored(bool, "showChildNodeTypes", True, changed="_refresh")
    noneDisplay = stored(str, "noneDisplay", "None", changed="_refresh")
    hideChildNodeTypes = stored("QStringList", "hideChildNodeTypes", [], changed="_refresh")
    removeEnabled = stored(bool, "removeEnabled", True)
    renameEnabled = stored(bool, "renameEnabled", False)
    editEnabled = stored(bool, "editEnabled", False)
    baseName = stored(str, "baseName", "")
    selectNodeUponCreation = stored(bool, "selectNodeUponCreation", True)
    interactionNodeSingletonTag = stored(str, "interactionNodeSingletonTag", "")

    def addAttribute(self, node_type: str, name: str, value: str | None = None) -> None:
        """List only nodes of that class that have the attribute, with that value if one is given."""
        self._attributes.append((node_type, name, value))
        self._refresh()

    def currentNode(self) -> Any:
        scene = self.mrmlScene()
        return scene.GetNodeByID(self._current) if scene is not None and self._current else None

    def setCurrentNode(self, node: Any) -> None:
        self.setCurrentNodeID(node.GetID() if node is not None else None)

    def setCurrentNodeID(self, node_id: str | None) -> None:
        wanted = node_id or None
        self._none_wanted = wanted is None
        if wanted is not None and wanted not in self._entries:
            self._refresh()
        if wanted in self._entries:
            self._combo.setCurrentIndex(self._entries.index(wanted))
        elif wanted is None:
            self._combo.setCurrentIndex(-1)
        else:
            return  # not of the listed kind
        self._select(wanted)

    def setCurrentNodeIndex(self, index: int) -> None:
        self.setCurrentNode(self._nodes()[index] if index >= 0 else None)

    def nodeCount(self) -> int:
        return len(self._nodes())

    def addNode(self, node_type: str | None = None) -> Any:
        """What the entry "Create new" does."""
        node = self.mrmlScene().AddNewNodeByClass(node_type or self.nodeTypes[0], self.baseName)
        if self.selectNodeUponCreation:
            self.setCurrentNode(node)
        self.nodeAddedByUser.emit(node)
        return node

    def removeCurrentNode(self) -> None:
        if self.currentNode() is not None:
            self.mrmlScene().RemoveNode(self.currentNode())

    currentNodeID = Property(str, lambda self: self._current or "", setCurrentNodeID)

    def _scene_changed(self, scene: Any) -> None:
        self._forget_scene()
        if scene is not None:
            kind = slicer.vtkMRMLScene
            for event in (kind.NodeAddedEvent, kind.NodeRemovedEvent, kind.EndBatchProcessEvent, kind.EndCloseEvent):
                self._observed.append((scene, scene.AddObserver(event, self._on_scene)))
        self._refresh()

    def _forget_scene(self) -> None:
        for scene, tag in self._observed:
            scene.RemoveObserver(tag)
        self._observed = []

    def _on_scene(self, *_: Any) -> None:
        if shiboken6.isValid(self):
            self._refresh()
        else:
            self._forget_scene()

    def _nodes(self) -> list:
        scene = self.mrmlScene()
        if scene is None:
            return []
        return [node for node in (scene.GetNthNode(n) for n in range(scene.GetNumberOfNodes())) if self._lists(node)]

    def _lists(self, node: Any) -> bool:
        if node.GetHideFromEditors() and not self.showHidden:
            return False
        if any(node.IsA(kind) for kind in self.hideChildNodeTypes):
            return False
        if not any(node.IsA(kind) if self.showChildNodeTypes else node.GetClassName() == kind for kind in self.nodeTypes):
            return False
        wanted = [(name, value) for kind, name, value in self._attributes if node.IsA(kind)]
        return all(node.GetAttribute(name) is not None and value in (None, node.GetAttribute(name)) for name, value in wanted)

    def _refresh(self) -> None:
        nodes = self._nodes()
        self._combo.blockSignals(True)
        self._combo.clear()
        self._entries = []
        if self.noneEnabled or not nodes:
            self._add_entry(self.noneDisplay, None)
        for node in nodes:
            self._add_entry(node.GetName(), node.GetID())
        if self.addEnabled:
            for kind in self.nodeTypes:
                self._add_entry(_CREATE + kind.replace("vtkMRML", "").replace("Node", ""), _CREATE + kind)
        wanted = self._wanted(nodes)
        self._combo.setCurrentIndex(self._entries.index(wanted) if wanted in self._entries else -1)
        self._combo.blockSignals(False)
        self._select(wanted)

    def _add_entry(self, text: str, entry: str | None) -> None:
        self._combo.addItem(text)
        self._entries.append(entry)

    def _wanted(self, nodes: list) -> str | None:
        if self._current is not None and self._current in self._entries:
            return self._current
        return None if self.noneEnabled or not nodes or self._none_wanted else nodes[0].GetID()

    def _select(self, node_id: str | None) -> None:
        if node_id == self._current:
            return
        self._current = node_id
        self.currentNodeChanged.emit(self.currentNode())
        self.currentNodeIDChanged.emit(node_id or "")

    def _on_index(self, index: int) -> None:
        entry = self._entries[index] if 0 <= index < len(self._entries) else None
        if index >= 0 and not str(entry).startswith(_CREATE):
            self._none_wanted = entry is None
            self._select(entry)

    def _on_activated(self, index: int) -> None:
        entry = self._entries[index]
        if entry is not None and entry.startswith(_CREATE):
            self.addNode(entry.removeprefix(_CREATE))


class _ItemHolder(SceneHolder):
    """The part of the subject hierarchy's widgets that scripts use: which item is the current one."""

    def subjectHierarchyNode(self) -> Any:
        return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(self.mrmlScene())

    def currentItem(self) -> int:
        return self.__dict__.get("_item", 0)

    def setCurrentItem(self, item: int) -> None:
        if item != self.currentItem():
            self.__dict__["_item"] = item
            self.currentItemChanged.emit(item)

    def setCurrentNode(self, node: Any) -> None:
        self.setCurrentItem(self.subjectHierarchyNode().GetItemByDataNode(node))

    def clearSelection(self) -> None:
        self.setCurrentItem(0)


class qMRMLSubjectHierarchyComboBox(_ItemHolder, QComboBox):
    CPP_SIGNALS = ("currentItemChanged(vtkIdType)",)
    currentItemChanged = Signal(object)


class qMRMLSubjectHierarchyTreeView(_ItemHolder, QTreeView):
    CPP_SIGNALS = ("currentItemChanged(vtkIdType)",)
    currentItemChanged = Signal(object)
    nodeTypes = stored("QStringList", "nodeTypes", [])


class qMRMLCheckableNodeComboBox(qMRMLNodeComboBox):
    CPP_SIGNALS = ("checkedNodesChanged()",)
    checkedNodesChanged = Signal()

    def checkedNodes(self) -> list:
        return list(self.__dict__.get("_checked", []))

    def setCheckState(self, node: Any, state: int) -> None:
        checked = [other for other in self.checkedNodes() if other is not node]
        self.__dict__["_checked"] = [*checked, node] if int(state) == 2 else checked
        self.checkedNodesChanged.emit()
