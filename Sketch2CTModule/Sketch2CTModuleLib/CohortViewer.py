"""The case on the screen: read ahead, put into the nodes, edited, described."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

import slicer
from slicer.i18n import tr as _

from sketch2ct.errors import Sketch2CTError

from .OneShot import OneShot
from .ReviewAhead import ReviewAhead
from .ReviewEdit import ReviewEdit
from .ReviewImages import ReviewImages
from .ReviewScene import ReviewScene
from .ReviewSession import ReviewSession

_AHEAD = (1, 2, -1)  # places from the shown case that are read while it is looked at
_TEND_S = 0.005
_SURFACE_MS = 120  # who goes through cases quickly does not wait for surfaces
_READOUT_LINES = 4


class CohortViewer:
    """Shows cases of a session. `images` are those of the shown case, None when there is none or it is damaged."""

    def __init__(self, fitter: Any, edited: Callable[[], None], scene: Any = None) -> None:
        self._scene = scene or ReviewScene(fitter=fitter, edited=self._onEdited)
        self._fitter, self._told = fitter, edited
        self._session: ReviewSession | None = None
        self._ahead: ReviewAhead[ReviewImages] | None = None
        self._edit = ReviewEdit()
        self._surfaces = OneShot(self._makeSurfaces, _SURFACE_MS)
        self._problem = ""
        self.images: ReviewImages | None = None

    @property
    def version(self) -> int:
        """Which mask is shown; 0 is the generated one."""
        return self.images.version if self.images is not None else 0

    @property
    def segmentation(self) -> Any:
        """The node of the shown mask, None without one."""
        return self._scene.segmentation

    @property
    def volume(self) -> Any:
        """The node of the shown CT, None without one."""
        return self._scene.volume

    @property
    def isEdited(self) -> bool:
        """Whether the user has touched the mask."""
        return self._edit.touched

    def begin(self, session: ReviewSession) -> None:
        """Show cases of this session from now on."""
        self._session = session
        self._ahead = ReviewAhead(lambda name: ReviewImages.read(session.cohort.case(name)))

    def end(self) -> None:
        """No session any more: the nodes go."""
        self._surfaces.stop()
        if self._session is not None:
            self._scene.remove()
        if self._ahead is not None:
            self._ahead.close()
        self._session, self._ahead = None, None
        self.forget()

    def forget(self) -> None:
        """The nodes are gone, or about to go."""
        self._surfaces.stop()
        self._scene.close()
        self.images, self._problem = None, ""
        self._edit.begin()

    def close(self) -> None:
        """The panel is about to go. The nodes stay: a reloaded module uses them again."""
        self.forget()
        if self._ahead is not None:
            self._ahead.close()
        self._ahead = None

    def show(self, name: str) -> None:
        """Put a case into the scene; a damaged one shows nothing but why."""
        if self._session is None or self._ahead is None:
            return
        self._surfaces.stop()
        try:
            self.images, self._problem = self._ahead.take(name), ""
            self._scene.show(self.images, name, blind=self._session.isBlind)
        except (Sketch2CTError, OSError, ValueError, MemoryError) as error:
            self.images, self._problem = None, str(error) or type(error).__name__
            self._session.markDamaged(name, self._problem)
            self._scene.clear()
        self._edit.begin()
        around = [self._session.neighbour(by, name) for by in _AHEAD]
        self._ahead.want([name, *(other for other in around if other is not None)])
        self.refreshSurfaces()

    def refreshSurfaces(self) -> None:
        """Make surfaces soon if a 3D view is shown."""
        if self.images is not None and _is3DShown():
            self._surfaces.start()

    def tend(self) -> bool:
        """Give the reading thread a moment; whether it has work left."""
        return self._ahead is not None and self._ahead.tend(_TEND_S)

    def keepEdit(self) -> int | None:
        """Write the mask as a new version if the user changed it; its number. Raises Sketch2CTError, and the edit is still there."""
        if self._session is None or self.images is None or self._session.isBlind:
            return None
        version = self._edit.keep(self._session, self.images, self.segmentation)
        if version is not None and self._ahead is not None:
            self._ahead.forget(self.images.name)
            self.images = self._ahead.take(self.images.name)
        return version

    def showSketch(self) -> None:
        """Bring the slice views onto the planes that were drawn on."""
        for sketch in self.images.sketches if self.images is not None and self._session is not None and not self._session.isBlind else ():
            points = sketch.points()
            self._fitter.jumpTo(sketch.plane.matrix, (points.min(axis=0) + points.max(axis=0)) / 2)

    def dropEdit(self) -> None:
        """Show the mask as it lies on disk."""
        if self.images is not None:
            self.show(self.images.name)

    def text(self) -> str:
        """The shown case in words: what was asked for, what was measured, why it is flagged. Of a blind reading nothing of it."""
        session, name = self._session, self._session.current if self._session is not None else None
        if session is None or name is None:
            return ""
        title = f"<b>{name}</b>" + (_(", mask version {n}").format(n=self.version) if self.version else "")
        if self._problem:
            return f"{title}<br>{escape(self._problem)}"
        if session.isBlind:
            return _("<b>{case}</b><br>Is this a patient, or was it generated?").format(case=name)
        row = session.row(name)
        lines = [f"{title}, {escape(row.structure)}: {escape(row.description)}" if row.description else f"{title}, {escape(row.structure)}"]
        lines += [escape(line) for line in row.readout[:_READOUT_LINES]]
        lines += [f"<font color='#a04600'>{escape(row.flags)}</font>"] if row.flags else []
        return "<br>".join(lines)

    def _makeSurfaces(self) -> None:
        if self.images is not None:
            self._scene.makeSurfaces()

    def _onEdited(self) -> None:
        self._edit.touch()
        self._told()


def sessionText(session: ReviewSession) -> str:
    """How far the review is, and what stands in its way."""
    done, total = session.counts()
    name = escape(session.cohort.root.name)
    parts = [_("<b>{cohort}</b>: {done} of {total} reviewed").format(cohort=name, done=done, total=total)]
    if len(session.shown) != total:
        parts.append(_("{n} listed").format(n=len(session.shown)))
    if session.cohort.total > total:
        parts.append(_("{n} still to be made").format(n=session.cohort.total - total))
    failed = session.failures()
    parts += [_("{n} could not be made").format(n=failed)] if failed else []
    text = ", ".join(parts) + "."
    if not session.isWritable:
        return text + " " + _("<b>This cohort is read-only: you can look, but verdicts and edits cannot be kept.</b>")
    if not session.reviewer:
        return text + " " + _("<b>Enter your name or initials to review.</b>")
    return text


def _is3DShown() -> bool:
    manager = slicer.app.layoutManager()
    return manager is not None and any(manager.threeDWidget(n).visible for n in range(manager.threeDViewCount))
