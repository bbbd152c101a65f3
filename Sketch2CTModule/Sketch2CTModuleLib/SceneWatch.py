"""What happens to the nodes of a scene."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
import vtk

_Scene = slicer.vtkMRMLScene
_LOADED = (_Scene.EndImportEvent, _Scene.EndRestoreEvent)


def _ignore(*_unused: Any) -> None:
    pass


class SceneWatch:
    """Observes `scene` until `release`.

    Calls `added(node)` and `removed(list of nodes)` for single nodes and for batches, which are told at their end, so
    that deleting a folder is one call; `closed()` after the scene was closed, and `loaded()` after an import or a
    restored scene view. Nodes that come or go with closing and loading are not told one by one.
    """

    def __init__(
        self,
        scene: Any,
        added: Callable[[Any], None] = _ignore,
        removed: Callable[[list[Any]], None] = _ignore,
        closed: Callable[[], None] = _ignore,
        loaded: Callable[[], None] = _ignore,
    ) -> None:
        self._scene = scene
        self._added, self._removed = added, removed
        self._gone: list[Any] = []

        @vtk.calldata_type(vtk.VTK_OBJECT)
        def onAdded(_scene: Any, _event: str, node: Any) -> None:
            if not self._isWhole():
                return
            self._added(node)

        @vtk.calldata_type(vtk.VTK_OBJECT)
        def onRemoved(_scene: Any, _event: str, node: Any) -> None:
            if self._isWhole():
                self._gone.append(node)
                self._tell()

        self._tags = [
            scene.AddObserver(_Scene.NodeAddedEvent, onAdded),
            scene.AddObserver(_Scene.NodeRemovedEvent, onRemoved),
            scene.AddObserver(_Scene.EndBatchProcessEvent, lambda *_: self._tell()),
            scene.AddObserver(_Scene.EndCloseEvent, lambda *_: closed()),
            *(scene.AddObserver(event, lambda *_: loaded()) for event in _LOADED),
        ]

    def release(self) -> None:
        """Stop observing."""
        for tag in self._tags:
            self._scene.RemoveObserver(tag)
        self._tags, self._gone = [], []

    def _isWhole(self) -> bool:
        return not (self._scene.IsClosing() or self._scene.IsImporting() or self._scene.IsRestoring())

    def _tell(self) -> None:
        if self._gone and not self._scene.IsBatchProcessing():
            gone, self._gone = self._gone, []
            self._removed(gone)
