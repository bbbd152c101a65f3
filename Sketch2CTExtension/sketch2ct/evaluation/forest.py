"""Figures with their 95 % intervals as plots, drawn from the numbers of a report: dark on white, to be printed."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

INK, LINES, BAND = "#1d2330", "#d9dde3", "#e4e8ee"
WIDTH = 8.2  # inches
LABELS = 0.3  # of the width, for the names of the rows,
WRAP = 34  # which have so many letters a line

Number = Mapping[str, Any] | None  # {"mean", "ci95", "n"}


@dataclass(frozen=True)
class Series:
    """One mark in every row. Colours differ in lightness as well, and marks in shape, for those who see no colours."""

    label: str
    color: str
    marker: str


MADE = Series("generated", "#c2410c", "o")
REAL = Series("real", "#0f766e", "s")
OTHER = Series("", "#2f5fd0", "D")
FOURTH = Series("", "#7b4fc9", "^")


@dataclass(frozen=True)
class Row:
    """One row: a figure (or None) for every series; `band`, from and to, is shaded behind them."""

    label: str
    figures: Sequence[Number]
    band: tuple[float, float] | None = None
    strong: bool = False


@dataclass(frozen=True)
class Axis:
    """The axis of the figures: what it shows, from where to where (or as far as the figures go), `mark` a line to compare with."""

    label: str
    limits: tuple[float, float | None] | None = None
    mark: float | None = None
    log: bool = False


def forest(rows: Sequence[Row], series: Sequence[Series], axis: Axis, band: str = "") -> Figure:
    """Rows from top to bottom, the mean of each figure as a mark and its interval as a line; `band` names the shading."""
    figure, axes = _axes(max(1.4, 0.26 * len(rows) * max(1.0, 0.55 * len(series)) + 1.0))
    figure.subplots_adjust(left=LABELS, right=0.98)
    step = 0.62 / max(1, len(series))
    for place, row in enumerate(rows):
        if place:
            axes.axhline(place - 0.5, color=LINES, linewidth=0.5, zorder=0.5)
        if row.band:
            axes.barh(place, row.band[1] - row.band[0], left=row.band[0], height=0.72, color=BAND, zorder=1)
        for n, (one, number) in enumerate(zip(series, row.figures, strict=True)):
            if known(number):
                _point(axes, number, place + (n - (len(series) - 1) / 2) * step, one)
    axes.set_yticks(range(len(rows)), [textwrap.fill(row.label, WRAP) for row in rows])
    for text, row in zip(axes.get_yticklabels(), rows, strict=True):
        text.set_fontweight("bold" if row.strong else "normal")
    axes.set(ylim=(len(rows) - 0.5, -0.5), xlabel=axis.label, xscale="log" if axis.log else "linear")
    if axis.log:
        _plain_numbers(axes.xaxis)
    if axis.limits:
        axes.set_xlim(*axis.limits)
    if axis.mark is not None:
        axes.axvline(axis.mark, color=INK, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1.5)
    axes.grid(axis="x", color=LINES, linewidth=0.7)
    _legend(axes, series, band)
    return figure


def spectrum(noise: Mapping[str, Mapping[str, Number]], bands: Sequence[tuple[str, float]]) -> Figure:
    """The noise power spectrum of generated and real CTs: `bands` are (key in `noise`, share of the Nyquist frequency)."""
    figure, axes = _axes(3.4)
    figure.subplots_adjust(left=0.12, right=0.98, bottom=0.17)
    for one, side in ((MADE, "generated"), (REAL, "real")):
        found = [(at, noise[key][side]) for key, at in bands if known(noise.get(key, {}).get(side))]
        x, means = [at for at, _ in found], [number["mean"] for _, number in found if number]
        axes.plot(x, means, color=one.color, linewidth=1, zorder=2)
        for at, number in found:
            _point(axes, number, at, one, upright=True)
    axes.set(xlabel="spatial frequency, share of the frame's Nyquist frequency", ylabel="noise power, HU² mm²", yscale="log")
    axes.set_xticks([at for _, at in bands])
    _plain_numbers(axes.yaxis)
    axes.grid(color=LINES, linewidth=0.7)
    _legend(axes, (MADE, REAL), "")
    return figure


def svg(figure: Figure) -> str:
    """A plot without a date, and with names of its parts that depend on nothing but the picture: the same bytes each time."""
    text = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "sketch2ct"}):
        about = {"Date": None, "Creator": None}
        figure.savefig(text, format="svg", facecolor="white", bbox_inches="tight", pad_inches=0.08, metadata=about)
    return text.getvalue()


def known(number: Number) -> bool:
    """Whether a figure has a mean."""
    return bool(number) and number["mean"] is not None  # type: ignore[index]


def _point(axes: Any, number: Number, place: float, one: Series, *, upright: bool = False) -> None:
    """The mean and the interval of a figure at a place of the other axis."""
    assert number
    interval = [end for end in number["ci95"] if end is not None]
    mean, span = number["mean"], interval or [number["mean"]]
    at, line = ((place, mean), ([place] * len(span), span)) if upright else ((mean, place), (span, [place] * len(span)))
    axes.plot(*line, color=one.color, linewidth=2, solid_capstyle="butt", zorder=3)
    axes.plot(*at, marker=one.marker, color=one.color, markersize=6, markeredgecolor="white", markeredgewidth=0.6, zorder=4)


def _axes(height: float) -> tuple[Figure, Any]:
    figure = Figure(figsize=(WIDTH, height), facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.tick_params(colors=INK, labelsize=9, length=0)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(color=INK, fontsize=9)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(LINES)
    axes.set_axisbelow(True)
    return figure, axes


def _plain_numbers(axis: Any) -> None:
    """On a logarithmic axis 0.2, 0.5 and 500, not 5 x 10²."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())


def _legend(axes: Any, series: Sequence[Series], band: str) -> None:
    handles = [axes.plot([], [], color=s.color, marker=s.marker, markersize=6, linewidth=2, label=s.label)[0] for s in series if s.label]
    if band:
        handles.append(axes.fill_between([], [], color=BAND, label=band))
    if len(handles) > 1:
        above = {"loc": "lower right", "bbox_to_anchor": (1, 1), "ncols": len(handles)}
        axes.legend(handles=handles, fontsize=9, frameon=False, labelcolor=INK, **above)
