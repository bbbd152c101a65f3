"""Correcting the mask of the case under review: in Segment Editor, and kept as a new version."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
from slicer.i18n import tr as _

from sketch2ct.errors import Sketch2CTError

from .CohortViewer import CohortViewer


class CohortEditing:
    """The buttons for it. `kept(case, version)` is called when a version was written, `changed()` when the shown mask is another one."""

    def __init__(self, ui: Any, viewer: CohortViewer, kept: Callable[[str, int], None], changed: Callable[[], None]) -> None:
        self._ui, self._viewer, self._kept, self._changed = ui, viewer, kept, changed
        ui.editCaseButton.connect("clicked()", self._onEdit)
        ui.keepEditButton.connect("clicked()", lambda: self.keep() and self._changed())
        ui.dropEditButton.connect("clicked()", self._onDrop)

    def setBlind(self, blind: bool) -> None:
        """A blind reading leaves the masks alone."""
        for button in (self._ui.editCaseButton, self._ui.keepEditButton, self._ui.dropEditButton):
            button.visible = not blind

    def offer(self, writable: bool) -> None:
        """Enable what can be done; `writable` is whether a case is shown and its cohort can be written to."""
        self._ui.editCaseButton.enabled = writable
        for button in (self._ui.keepEditButton, self._ui.dropEditButton):
            button.enabled = self._viewer.isEdited

    def keep(self) -> bool:
        """Write the mask as a new version if it was changed; False when that failed, which is told: the edit is then still there."""
        images = self._viewer.images
        if images is None:
            return True
        try:
            version = self._viewer.keepEdit()
        except Sketch2CTError as error:
            text = _("The edit of {case} could not be kept. {error} You can also drop it.")
            slicer.util.errorDisplay(text.format(case=images.name, error=error), windowTitle=_("Review"))
            return False
        if version is not None:
            self._kept(images.name, version)
        self.offer(self._ui.editCaseButton.enabled)
        return True

    def _onDrop(self) -> None:
        self._viewer.dropEdit()
        self._changed()

    def _onEdit(self) -> None:
        segmentation = self._viewer.segmentation
        if segmentation is None:
            return
        slicer.util.selectModule("SegmentEditor")
        module = getattr(slicer.modules, "SegmentEditorWidget", None)
        if module is not None:
            module.parameterSetNode.SetAndObserveSegmentationNode(segmentation)
            module.parameterSetNode.SetAndObserveSourceVolumeNode(self._viewer.volume)
