"""What a user does to a curve node by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer

_Curve = slicer.vtkMRMLMarkupsCurveNode
_EDITED = (_Curve.PointModifiedEvent,)
_FINISHED = (_Curve.PointEndInteractionEvent, _Curve.PointRemovedEvent, _Curve.PointPositionDefinedEvent)


class CurveWatch:
    """Observes one curve node until `release`.

    Calls `edited` when points may have moved, `finished` when the user let go of one, removed or inserted one, and
    `shown` when the curve was shown or hidden. A drag calls `edited` at every step and `finished` once.
    """

    def __init__(self, node: Any, edited: Callable[[], None], finished: Callable[[], None], shown: Callable[[], None]) -> None:
        self._node = node
        self._shown = shown
        self._visible = bool(node.GetDisplayVisibility())
        self._tags = [node.AddObserver(event, lambda *_: edited()) for event in _EDITED]
        self._tags += [node.AddObserver(event, lambda *_: finished()) for event in _FINISHED]
        self._tags.append(node.AddObserver(slicer.vtkMRMLDisplayableNode.DisplayModifiedEvent, self._onDisplay))

    def release(self) -> None:
        """Stop observing."""
        for tag in self._tags:
            self._node.RemoveObserver(tag)
        self._tags = []

    def _onDisplay(self, *_: Any) -> None:
        visible = bool(self._node.GetDisplayVisibility())
        if visible != self._visible:  # the event comes for every hover, too
            self._visible = visible
            self._shown()
