"""The panel beside the pictures of a preview: what was asked, and the quality readout. No torch."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np

from .anatomy import vocabulary
from .request import GenerationRequest

BACKGROUND, INK, DIM, AMBER, GREEN = "#0d1014", "#e8ebef", "#9aa4b0", "#ffb84d", "#6fd08c"
SKETCH = "#21e0ff"
_COLUMNS = 50  # characters of size 10 that fit on a line
_LINE_INCHES = 0.21
_MADE_BY = {"mask": "Mask by", "surroundings": "Surroundings by", "volume": "CT by"}
_MAX_STRUCTURES, _MAX_SKETCHES, _MAX_WARNINGS = 6, 5, 6


class _Column:
    """Writes lines downwards in an axes of the unit square; without an axes it measures, in `used` (of the height).

    `line` is the height of a line, `scale` the size of the letters.
    """

    def __init__(self, axes: Any, line: float, scale: float = 1.0) -> None:
        self._axes, self._line, self._scale = axes, line * scale, scale
        self.used = 0.015

    @property
    def _y(self) -> float:
        return 1 - self.used

    def _put(self, x: float, text: str, size: float, color: str, *, bold: bool = False) -> None:
        if self._axes is not None:
            style = {"fontsize": size * self._scale, "fontweight": "bold" if bold else "normal"}
            self._axes.text(x, self._y, text, color=color, va="top", **style)

    def _plot(self, x: list[float], y: float, marker: str, **style: Any) -> None:
        if self._axes is not None:
            self._axes.plot(x, [y] * len(x), marker, **style)

    def text(self, text: str, *, color: str = INK, size: float = 10, bold: bool = False) -> None:
        """Wrapped text."""
        for line in textwrap.wrap(text, int(_COLUMNS * 10 / size / self._scale)) or [""]:
            self._put(0.03, line, size, color, bold=bold)
            self.gap(size / 10)

    def pair(self, name: str, value: str) -> None:
        """A name on the left and its value at a tab stop."""
        self._put(0.06, name, 10, DIM)
        self._put(0.36, value, 10, INK)
        self.gap(1)

    def heading(self, text: str, line: str = "") -> None:
        """A small heading over a fine line; a sample of a line's colour at its right end."""
        self.gap(0.9)
        if line:
            self._plot([0.9, 0.97], self._y - 0.4 * self._line, "-", color=line, linewidth=2)
        self._put(0.03, text.upper(), 8.5, DIM, bold=True)
        self.gap(0.9)
        self._plot([0.03, 0.97], self._y, "-", color="#2b3038", linewidth=1)
        self.gap(0.35)

    def swatch(self, color: tuple[int, int, int], text: str) -> None:
        """A structure's name behind a patch of its colour."""
        self._plot([0.042], self._y - 0.4 * self._line, "s", color=np.asarray(color) / 255, markersize=8 * self._scale)
        self._put(0.065, text, 11, INK, bold=True)
        self.gap(1.2)

    def gap(self, lines: float) -> None:
        """Empty space."""
        self.used += lines * self._line


def draw_panel(axes: Any, request: GenerationRequest, manifest: dict[str, Any]) -> None:
    """Fill an axes with the description, the readout and the provenance of a result."""
    axes.set(xlim=(0, 1), ylim=(0, 1), xticks=[], yticks=[], facecolor="#14181e")
    for spine in axes.spines.values():
        spine.set_visible(False)
    line = _LINE_INCHES / axes.figure.get_figheight()
    trial = _Column(None, line)
    _fill(trial, request, manifest)
    _fill(_Column(axes, line, min(1.0, 0.98 / trial.used)), request, manifest)


def _fill(column: _Column, request: GenerationRequest, manifest: dict[str, Any]) -> None:
    quality = manifest.get("quality", {})
    column.text("SYNTHETIC - not for clinical use", color=AMBER, size=13, bold=True)
    column.heading("Description")
    column.text(textwrap.shorten(request.description, 420, placeholder=" ...") or "(none: sketch only)", size=10.5)
    _draw_structures(column, quality.get("structures", {}))
    _draw_sketches(column, quality.get("sketches", []))
    column.heading("Review")
    warnings = quality.get("warnings", [])
    for warning in warnings[:_MAX_WARNINGS]:
        column.text(f"! {warning}", color=AMBER)
    if len(warnings) > _MAX_WARNINGS:
        column.text(f"and {len(warnings) - _MAX_WARNINGS} more in manifest.json", color=AMBER)
    if not warnings:
        column.text("No warnings.", color=GREEN)
    column.heading("Provenance")
    stages = manifest.get("bundles", {})
    for title, made in [(title, stages[stage]) for stage, title in _MADE_BY.items() if stage in stages] or [("Bundle", manifest)]:
        column.pair(title, f"{made.get('bundle', '?')}  {str(made.get('bundle_hash', ''))[:12]}")
    column.pair("Seed", str(request.seed))
    column.pair("Sketch2CT", str(manifest.get("versions", {}).get("sketch2ct", "?")))
    column.pair("Device", str(manifest.get("device", "?")))
    seconds = manifest.get("seconds", {})
    if seconds:
        column.pair("Time", f"{sum(seconds.values()):.1f} s")


def _draw_structures(column: _Column, structures: dict[str, Any]) -> None:
    column.heading("Structures")
    for name, item in list(structures.items())[:_MAX_STRUCTURES]:
        column.swatch(vocabulary()[name].color, vocabulary()[name].display)
        rank = item.get("volume_percentile")
        place = f"  (percentile {rank:.0f} of training)" if rank is not None else ""
        column.pair("Volume", f"{item['volume_ml']:.1f} mL{place}")
        if item.get("asked_volume_ml"):
            column.pair("Asked for", f"{item['asked_volume_ml']:g} mL  ({item['volume_error']:+.0%})")
        share = item.get("largest_share")
        parts = f"  (largest {share:.0%})" if share is not None and item["components"] > 1 else ""
        column.pair("Pieces", f"{item['components']}{parts}")
        if item.get("hu_median") is not None:
            low, high = item["hu_plausible"]
            column.pair("Median HU", f"{item['hu_median']:.0f}  (usual {low:.0f} to {high:.0f})")
        column.gap(0.3)
    if len(structures) > _MAX_STRUCTURES:
        column.text(f"and {len(structures) - _MAX_STRUCTURES} more", color=DIM)


def _draw_sketches(column: _Column, sketches: list[dict[str, Any]]) -> None:
    if not sketches:
        return
    column.heading("Agreement with the sketch", line=SKETCH)
    for item in sketches[:_MAX_SKETCHES]:
        dice, away = item["dice"], item["contour_distance_95_mm"]
        values = [f"Dice {dice:.2f}"] if dice is not None else []
        values += [f"95 % within {away:.1f} mm"] if away is not None else ["no contour"]
        kind = " silhouette" if item["meaning"] == "silhouette" else ""
        column.pair(f"{item['plane'].capitalize()}{kind}", ",  ".join(values))
    if len(sketches) > _MAX_SKETCHES:
        column.text(f"and {len(sketches) - _MAX_SKETCHES} more", color=DIM)
