"""The sketches of the scene: every change of theirs goes through here and can be undone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import numpy as np
import slicer

from sketch2ct.errors import BadRequest
from sketch2ct.request import Sketch

from .CurveWatch import CurveWatch
from .SceneWatch import SceneWatch
from .Signal import Signal
from .SketchEntry import SketchEntry
from .Stroke import Stroke
from .StrokeHistory import StrokeHistory
from .StrokeNode import StrokeNode

_MOVED_MM = 1e-6  # a smaller difference is the rounding of a file


@dataclass
class _Held:
    """A stroke as its node shows it."""

    stroke: Stroke
    node: Any
    watch: CurveWatch


class SketchBook:
    """Strokes in the order of drawing, mirrored by curve nodes, with undo and redo.

    What the user does to the nodes elsewhere (drags a point, deletes a curve, closes the scene, loads another) is
    followed, and is a step to undo like any other, but closing and loading, which begin anew.
    """

    def __init__(self, scene: Any = None) -> None:
        self.changed = Signal()  # nothing is passed: strokes, points or visibility are others now
        self._history: StrokeHistory[tuple[Stroke, ...]] = StrokeHistory(())
        self._held: dict[str, _Held] = {}
        self._edited: set[str] = set()  # strokes whose node may have other points
        self._writing = False
        self._watch: SceneWatch | None = None
        self.setScene(scene or slicer.mrmlScene)

    def setScene(self, scene: Any) -> None:
        """Follow another scene: its strokes are read, the history begins anew."""
        self.cleanup()
        self._scene, self._nodes = scene, StrokeNode(scene)
        self._watch = SceneWatch(scene, added=self._onNodeAdded, removed=self._onNodeRemoved, closed=self._onClosed, loaded=self._reload)
        self._reload()

    def cleanup(self) -> None:
        """Let go of the scene; its nodes stay."""
        if self._watch:
            self._watch.release()
        self._watch = None
        self._forget()

    # Strokes

    def strokes(self) -> tuple[Stroke, ...]:
        """All strokes, in the order of drawing."""
        self._absorbEdits()
        return self._history.state

    def add(self, stroke: Stroke) -> None:
        """Add a stroke, in sight even if its sketch was hidden."""
        for entry in self.sketches():
            if not entry.visible and entry.strokes[0].sameSketch(stroke):
                self._show(entry, True)
        self._go((*self.strokes(), stroke))

    def removeStroke(self, strokeId: str) -> None:
        """Remove one stroke; nothing happens if there is none of this id."""
        self._keep(stroke for stroke in self.strokes() if stroke.id != strokeId)

    def removeSketch(self, sketch: SketchEntry) -> None:
        """Remove all strokes of a sketch."""
        gone = {stroke.id for stroke in sketch.strokes}
        self._keep(stroke for stroke in self.strokes() if stroke.id not in gone)

    def clear(self) -> None:
        """Remove all strokes; can be undone."""
        self._keep(())

    # History

    @property
    def canUndo(self) -> bool:
        """Whether there is a step to undo."""
        return self._history.canUndo

    @property
    def canRedo(self) -> bool:
        """Whether there is an undone step."""
        return self._history.canRedo

    def undo(self) -> None:
        """Undo the last step, if there is one."""
        self._absorbEdits()
        self._history.undo()
        self._mirror()

    def redo(self) -> None:
        """Redo what was undone last, if there is something."""
        self._absorbEdits()
        self._history.redo()
        self._mirror()

    # Sketches

    def sketches(self) -> list[SketchEntry]:
        """The strokes by structure, plane and meaning, in the order of their first strokes."""
        groups: list[list[Stroke]] = []
        for stroke in self.strokes():
            group = next((group for group in groups if group[0].sameSketch(stroke)), None)
            if group is None:
                groups.append([stroke])
            else:
                group.append(stroke)
        return [SketchEntry(tuple(group), self._isShown(group)) for group in groups]

    def isVisible(self, sketch: SketchEntry) -> bool:
        """Whether any stroke of the sketch is shown."""
        return self._isShown(sketch.strokes)

    def setVisible(self, sketch: SketchEntry, visible: bool) -> None:
        """Show or hide a sketch; it is part of the request all the same."""
        self._show(sketch, visible)
        self.changed.emit()

    def requestSketches(self) -> list[Sketch]:
        """All sketches, hidden ones too, as the backend takes them. Raises BadRequest: none there, a stroke too short."""
        entries = self.sketches()
        if not entries:
            raise BadRequest("There is no sketch.", "Turn the pen on and draw an outline on a slice.")
        return [entry.toRequest() for entry in entries]

    def node(self, strokeId: str) -> Any:
        """The curve node of a stroke, None if there is none of this id."""
        held = self._held.get(strokeId)
        return held.node if held else None

    # State -> nodes

    def _keep(self, strokes: Iterable[Stroke]) -> None:
        kept = tuple(strokes)
        if len(kept) != len(self._history.state):
            self._go(kept)

    def _go(self, state: tuple[Stroke, ...]) -> None:
        self._history.push(state)
        self._mirror()

    def _mirror(self) -> None:
        """Make the nodes equal to the state at present."""
        state = self._history.state
        wanted = {stroke.id for stroke in state}
        with self._writes():
            gone = [held for key, held in self._held.items() if key not in wanted]
            for held in gone:
                self._drop(held.stroke.id)
                self._scene.RemoveNode(held.node)
            for order, stroke in enumerate(state):
                known = self._held.get(stroke.id)
                if known is None:
                    self._hold(stroke, self._nodes.add(stroke, order))
                elif known.stroke is not stroke:
                    self._nodes.write(known.node, stroke, order)
                    known.stroke = stroke
            if gone and not state:  # when others took the curves away, they may be just about to remove their folder, too
                self._nodes.removeEmptyFolder()
        self.changed.emit()

    def _hold(self, stroke: Stroke, node: Any) -> None:
        watch = CurveWatch(node, self._callback(self._onEdited, stroke.id), self._callback(self._onFinished, stroke.id), self._onShown)
        self._held[stroke.id] = _Held(stroke, node, watch)

    def _drop(self, strokeId: str) -> None:
        self._edited.discard(strokeId)
        self._held.pop(strokeId).watch.release()

    def _forget(self) -> None:
        for strokeId in list(self._held):
            self._drop(strokeId)
        self._history.restart(())

    @staticmethod
    def _callback(function: Callable[[str], None], strokeId: str) -> Callable[[], None]:
        return lambda: function(strokeId)

    @contextmanager
    def _writes(self) -> Iterator[None]:
        """What happens to nodes meanwhile is our own doing."""
        before, self._writing = self._writing, True
        try:
            yield
        finally:
            self._writing = before

    # Nodes -> state

    def _onEdited(self, strokeId: str) -> None:
        if not self._writing:
            self._edited.add(strokeId)

    def _onFinished(self, strokeId: str) -> None:
        if not self._writing:
            self._edited.add(strokeId)
            self._absorbEdits()

    def _onShown(self) -> None:
        if not self._writing:
            self.changed.emit()

    def _absorbEdits(self) -> None:
        """Take the points of edited nodes over as one step, laid onto their planes."""
        edited, self._edited = self._edited, set()
        moved = {}
        for strokeId in edited & self._held.keys():
            held = self._held[strokeId]
            points = self._nodes.points(held.node)
            if points.shape != held.stroke.points.shape or np.abs(points - held.stroke.points).max(initial=0) > _MOVED_MM:
                moved[strokeId] = held.stroke.withPoints(points)
        if moved:
            state = tuple(moved.get(stroke.id, stroke) for stroke in self._history.state)
            self._go(tuple(stroke for stroke in state if len(stroke.points) > 1))

    def _onNodeAdded(self, node: Any) -> None:
        """A copy of a stroke that the user made, for example in the Data module."""
        stroke = None if self._writing else self._nodes.read(node)
        if stroke is None or len(stroke.points) < 2:
            return
        if stroke.id in self._held:
            stroke = replace(stroke, id=uuid4().hex)
        with self._writes():
            self._nodes.write(node, stroke, len(self._history.state))
        self._hold(stroke, node)
        self._go((*self._history.state, stroke))

    def _onNodeRemoved(self, nodes: list[Any]) -> None:
        gone = [key for key, held in self._held.items() if any(held.node is node for node in nodes)]
        if self._writing or not gone:
            return
        for strokeId in gone:
            self._drop(strokeId)
        self._keep(stroke for stroke in self._history.state if stroke.id not in gone)

    def _onClosed(self) -> None:
        self._forget()
        self.changed.emit()

    def _reload(self) -> None:
        """Begin anew with the strokes that the scene holds."""
        self._forget()
        with self._writes():
            for stroke, node in self._nodes.strokes():
                if not stroke.id or stroke.id in self._held:
                    stroke = replace(stroke, id=uuid4().hex)
                self._nodes.write(node, stroke, len(self._held))
                self._hold(stroke, node)
        self._history.restart(tuple(held.stroke for held in self._held.values()))
        self.changed.emit()

    # Visibility

    def _isShown(self, strokes: Iterable[Stroke]) -> bool:
        nodes = [self.node(stroke.id) for stroke in strokes]
        return any(node is not None and node.GetDisplayVisibility() for node in nodes)

    def _show(self, sketch: SketchEntry, visible: bool) -> None:
        with self._writes():
            for stroke in sketch.strokes:
                node = self.node(stroke.id)
                if node is not None:
                    node.SetDisplayVisibility(visible)
