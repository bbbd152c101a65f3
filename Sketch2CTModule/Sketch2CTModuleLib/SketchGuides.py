"""What helps to see the sketches on slice views: gaps to be closed, and strokes on slices nearby."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from .GuideView import GuideView
from .LayoutViews import DrawingView, LayoutViews
from .SketchBook import SketchBook


class SketchGuides:
    """Guides of the sketches of `book` on the views that `sliceViews()` gives, while shown."""

    def __init__(self, book: SketchBook, sliceViews: Callable[[], Iterable[DrawingView]] | None = None) -> None:
        self._book = book
        self._sliceViews = sliceViews or LayoutViews()
        self._ownsViews = sliceViews is None
        self._views: list[GuideView] = []
        self._shown = False
        changed = getattr(self._sliceViews, "changed", None)
        if changed is not None:
            changed.connect(self.refreshViews)
        book.changed.connect(self._onBook)

    def setShown(self, shown: bool) -> None:
        """Show the guides, or take them away."""
        if shown != self._shown:
            self._shown = shown
            self.refreshViews()

    def refreshViews(self) -> None:
        """Follow the views that exist now; wanted after the layout changed, if `sliceViews` does not tell of it itself."""
        for guideView in self._views:
            guideView.release()
        self._views = [GuideView(view) for view in self._sliceViews()] if self._shown else []
        self._onBook()

    def cleanup(self) -> None:
        """Take the guides away for good."""
        self.setShown(False)
        self._book.changed.disconnect(self._onBook)
        changed = getattr(self._sliceViews, "changed", None)
        if changed is not None:
            changed.disconnect(self.refreshViews)
        if self._ownsViews and isinstance(self._sliceViews, LayoutViews):
            self._sliceViews.release()

    def _onBook(self) -> None:
        if self._views:
            sketches = self._book.sketches()
            for guideView in self._views:
                guideView.show(sketches)
