"""The line in hand, in the slice view that it is drawn on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .LayoutViews import DrawingView
from .LineActor import Color, LineActor

LINE_PIXELS = 2.5
GAP_PIXELS = 1.5
_WHITE: Color = (255, 255, 255)


class StrokeOverlay:
    """The growing line and, dashed, the gap that closes it. Nothing is in the view after `remove`."""

    def __init__(self, view: DrawingView) -> None:
        self._view = view
        self._line, self._gap = LineActor(LINE_PIXELS), LineActor(GAP_PIXELS)
        self._start: NDArray[np.float64] | None = None
        self._color: Color = _WHITE
        for lines in (self._gap, self._line):
            lines.addTo(view.renderer)

    def remove(self) -> None:
        """Take everything out of the view."""
        for lines in (self._gap, self._line):
            lines.removeFrom(self._view.renderer)

    def begin(self, x: float, y: float, color: Color) -> None:
        """Begin a line at a pixel."""
        self._start, self._color = np.array([x, y], dtype=np.float64), color
        self._line.begin(x, y)
        self._gap.clear()

    def append(self, x: float, y: float) -> None:
        """Draw the line on to a pixel."""
        self._line.goOn(x, y, self._color)
        self._gap.clear()
        self._gap.addDashes(np.array([[(x, y), self._start]]), self._color)

    def redraw(self, path: NDArray[np.float64]) -> None:
        """Draw the line anew, (N, 3) RAS mm, after the view changed."""
        pixels = self._view.toPixels(path)
        self.begin(pixels[0, 0], pixels[0, 1], self._color)
        for x, y in pixels[1:]:
            self._line.goOn(x, y, self._color)

    def drop(self) -> None:
        """Take the line away."""
        self._line.clear()
        self._gap.clear()
