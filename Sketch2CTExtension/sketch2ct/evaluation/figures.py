"""The report's pictures: plots of all single masks, dark on white to be printed; sheets of slices, light on black as films are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from ..anatomy import vocabulary
from ..geometry import ORIENTATIONS, Grid, Plane
from ..imaging import CTVolume, LabelVolume
from ..preview import View
from ..sketching import crop
from . import forest
from .case import MaskRecord, Question
from .ct import Comparison
from .mask_tables import FACTS

BACKGROUND, INK, DIM = "#14171c", "#e6e9ef", "#8b93a1"
TRUE, MADE, DRAWN = "#5ad1a0", "#ff8c5a", "#ffd23f"
_SERIES = (
    ("dice_3d", "this bundle", forest.MADE.color),
    ("retrieval_dice_3d", "retrieval", forest.OTHER.color),
    ("mean_shape_dice_3d", "mean shape", forest.FOURTH.color),
)
MARGIN_MM = 45.0
_WINDOW = {"vmin": -500, "vmax": 1000, "cmap": "gray"}
_KEY = "green true, orange generated, yellow the sketch; left its plane, right a plane across it"
_BESIDE = {"axial": "sagittal", "coronal": "axial", "sagittal": "coronal"}  # a second plane, across the sketched one


@dataclass
class Shown:
    """One generated mask to draw, with what was asked and the case's CT, all cut to the same box."""

    record: MaskRecord
    question: Question
    mask: NDArray[np.bool_]
    ct: CTVolume

    @classmethod
    def of(cls, record: MaskRecord, question: Question, mask: NDArray[np.bool_], ct: CTVolume) -> Shown:
        """Cut to MARGIN_MM around the true and the generated mask, so that many can be kept."""
        index = np.argwhere(question.mask | mask)
        margin = np.ceil(MARGIN_MM / question.grid.spacing).astype(int)
        low = np.maximum(index.min(0) - margin, 0)
        high = np.minimum(index.max(0) + margin + 1, question.grid.shape)
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        affine = question.grid.affine.copy()
        affine[:3, 3] = question.grid.to_ras(low)
        small = question.mask[box].copy()
        grid = Grid(small.shape, affine)
        cut = replace(question, mask=small, grid=grid)
        return cls(record, cut, mask[box].copy(), CTVolume(ct.array[box].copy(), grid))


def _figure(width: float, height: float, ground: str = BACKGROUND) -> Figure:
    figure = Figure(figsize=(width, height), dpi=110, facecolor=ground)
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Figure, path: Path) -> Path:
    figure.savefig(path, format="png", facecolor=figure.get_facecolor(), bbox_inches="tight", pad_inches=0.15)
    return path


def _plot(width: float, height: float) -> tuple[Figure, Any]:
    """An empty plot, dark on white."""
    figure = _figure(width, height, "white")
    axes = figure.add_subplot()
    axes.tick_params(colors=forest.INK, length=0)
    for spine in axes.spines.values():
        spine.set_color(forest.LINES)
    return figure, axes


def _boxes(axes: Any, values: list[list[float]], at: NDArray, width: float, color: str, label: str = "") -> None:
    """Box plots at places of the axis: quartiles, whiskers from the 5th to the 95th percentile, points beyond."""
    made = axes.boxplot(values, positions=at, widths=width, patch_artist=True, manage_ticks=False, whis=(5, 95))
    for part in ("boxes", "whiskers", "caps", "medians"):
        for artist in made[part]:
            artist.set(color=forest.INK if part == "medians" else color)
    for n, box in enumerate(made["boxes"]):
        box.set(facecolor=color, alpha=0.85, label=label if n == 0 else None)
    for flier in made["fliers"]:
        flier.set(marker=".", markeredgecolor=color, markersize=4)


def _dice_axis(axes: Any, names: list[str]) -> None:
    axes.set_xticks(np.arange(len(names)), names)
    axes.set(ylim=(0, 1), ylabel="Dice, 3D")
    axes.yaxis.label.set_color(forest.INK)
    axes.grid(axis="y", color=forest.LINES)
    axes.set_axisbelow(True)


def _in_lines(name: str) -> str:
    return vocabulary()[name].spoken.replace(" ", "\n")


def dice_figure(records: list[MaskRecord], path: Path) -> Path:
    """Box plot of the 3D Dice by structure, with the baselines beside it."""
    names = list(dict.fromkeys(r.structure for r in records))
    figure, axes = _plot(1.9 * len(names) + 2.5, 5)
    series = [s for s in _SERIES if any(s[0] in r.values for r in records)]
    for n, (key, label, color) in enumerate(series):
        values = [[r.values[key] for r in records if r.structure == name and key in r.values] for name in names]
        _boxes(axes, values, np.arange(len(names)) + (n - (len(series) - 1) / 2) * 0.25, 0.2, color, label)
    _dice_axis(axes, [_in_lines(name) for name in names])
    axes.legend(loc="lower left", labelcolor=forest.INK, edgecolor=forest.LINES)
    return _save(figure, path)


def conditions_figure(reference: list[MaskRecord], conditions: dict[str, list[dict[str, Any]]], path: Path) -> Path:
    """Box plot of the 3D Dice of every mask by what was asked; `conditions` as in the report's records."""
    values = {"one sketch,\nfull text": [r.values["dice_3d"] for r in reference]}
    values |= {name.replace("_", "\n", 1): [r["values"]["dice_3d"] for r in records] for name, records in conditions.items() if records}
    figure, axes = _plot(1.2 * len(values) + 1.5, 5)
    _boxes(axes, list(values.values()), np.arange(len(values)), 0.5, forest.MADE.color)
    _dice_axis(axes, list(values))
    return _save(figure, path)


def obedience_figure(shares: dict[tuple[str, str, str], float], path: Path) -> Path:
    """The share of pairs followed as a table of shades: rows facts, by words and by numbers; columns structures.

    `shares`: (kind, fact, structure) -> 0..1. Dark is followed, and every cell says its share, for those who see no colours.
    """
    lines = list(dict.fromkeys((kind, fact) for kind, fact, _ in sorted(shares, key=lambda key: key[0], reverse=True)))
    names = list(dict.fromkeys(name for _, _, name in shares))
    table = np.array([[shares.get((*line, name), np.nan) for name in names] for line in lines])
    figure, axes = _plot(1.3 * len(names) + 3, 0.36 * len(lines) + 1.2)
    axes.imshow(table, vmin=0, vmax=1.8, cmap="Greens", aspect="auto")  # only greens that dark text is read on
    for (row, column), value in np.ndenumerate(table):
        if np.isfinite(value):
            low = value < 0.5  # no better than chance
            weight = "bold" if low else "normal"
            axes.text(column, row, f"{100 * value:.0f}", ha="center", va="center", fontsize=9, color=forest.INK, weight=weight)
            if low:
                axes.add_patch(Rectangle((column - 0.48, row - 0.46), 0.96, 0.92, fill=False, edgecolor=forest.MADE.color, linewidth=1.5))
    axes.set_xticks(np.arange(len(names)), [_in_lines(name) for name in names])
    axes.set_yticks(np.arange(len(lines)), [f"{FACTS.get(fact, fact)}: {kind}" for kind, fact in lines])
    axes.set_title("Pairs followed, %; framed: fewer than by chance", color=forest.INK, fontsize=10, loc="left")
    return _save(figure, path)


def mask_sheet(picks: list[tuple[str, list[tuple[str, Shown]]]], path: Path) -> Path:
    """Rows of (structure, [(rank, mask)]): each mask on its sketch's plane and on one across, over the real CT."""
    columns = max(len(row) for _, row in picks)
    figure = _figure(5.2 * columns, 2.75 * len(picks))
    layout = figure.add_gridspec(len(picks), 2 * columns, wspace=0.03, hspace=0.16)
    for r, (_, row) in enumerate(picks):
        for c, (rank, shown) in enumerate(row):
            q = shown.question
            centre = q.sketch.points().mean(0)
            across = Plane.named(_BESIDE.get(q.sketch.plane.orientation, "axial"), centre)
            for n, plane in enumerate((Plane.named(q.sketch.plane.orientation, centre), across)):
                axes = figure.add_subplot(layout[r, 2 * c + n])
                _draw_masks(axes, plane, shown, sketch=n == 0)
                if n == 0:
                    spoken, dice = vocabulary()[q.structure].spoken, shown.record.values["dice_3d"]
                    title = f"{spoken}, {rank}: {q.case}, Dice {dice:.2f}"
                    axes.set_title(title, color=INK, fontsize=9, loc="left", pad=4)
    figure.text(0.125, 0.105, _KEY, va="top", color=DIM, fontsize=9)
    return _save(figure, path)


def _draw_masks(axes: Any, plane: Plane, shown: Shown, *, sketch: bool) -> None:
    q = shown.question
    flat = plane.to_plane(crop(q.mask, q.grid, 1)[1].corners())[:, :2]
    middle, half = (flat.min(0) + flat.max(0)) / 2, 0.6 * np.ptp(flat, axis=0).max() + 8
    view = View(plane, "", middle - half, middle + half, max(half / 120, 0.25))
    _slice(axes, view, shown.ct.array.astype(np.float32), shown.ct.grid)
    for mask, color in ((q.mask, TRUE), (shown.mask, MADE)):
        _contour(axes, view, mask, q.grid, color)
    if sketch:
        for stroke in q.sketch.strokes:
            uv = plane.to_plane(stroke)
            axes.plot(uv[:, 0], uv[:, 1], color=DRAWN, linewidth=0.8, linestyle="--")


def _slice(axes: Any, view: View, array: NDArray, grid: Grid, outside: float = -1000.0) -> None:
    axes.imshow(view.sample(array, grid, outside), origin="lower", extent=view.extent, **_WINDOW)
    _plain(axes, view)


def _plain(axes: Any, view: View) -> None:
    limits = {"xlim": view.extent[:2], "ylim": view.extent[2:]}
    axes.set(**limits, xticks=[], yticks=[], aspect="equal", facecolor="black")
    for spine in axes.spines.values():
        spine.set_color("#2b3038")


def _contour(axes: Any, view: View, mask: NDArray, grid: Grid, color: Any) -> None:
    share = view.sample(mask.astype(np.float32), grid, 0.0)
    if share.max() > 0.5:
        u, v = (np.linspace(view.low[n], view.high[n], share.shape[1 - n]) for n in (0, 1))
        axes.contour(u, v, share, levels=[0.5], colors=[color], linewidths=1.1)


def _labels(axes: Any, view: View, labels: LabelVolume) -> None:
    image = None
    for value, name in labels.names.items():
        share = view.sample((labels.array == value).astype(np.float32), labels.grid, 0.0)
        image = np.zeros((*share.shape, 3)) if image is None else image
        image[share >= 0.5] = np.asarray(vocabulary()[name].color) / 255
    if image is not None:
        axes.imshow(image, origin="lower", extent=view.extent)
    _plain(axes, view)


def ct_sheet(shown: Comparison, path: Path) -> Path:
    """Rows real, generated, labels; columns axial, coronal, sagittal, through the middle of the labels. Aspect in mm."""
    grid = shown.real.grid
    index = np.argwhere(shown.labels.array > 0)
    centre = grid.to_ras(index.mean(0)) if len(index) else grid.centre
    views = []
    for name in ORIENTATIONS:
        plane = Plane.named(name, centre)
        flat = plane.to_plane(grid.corners())[:, :2]
        views.append(View(plane, name, flat.min(0), flat.max(0), float(grid.spacing.min()) / 2))
    sizes = [view.high - view.low for view in views]
    scale = 11 / sum(size[0] for size in sizes)
    figure = _figure(11, 3 * max(size[1] for size in sizes) * scale + 0.6)
    layout = figure.add_gridspec(3, 3, width_ratios=[s[0] for s in sizes], wspace=0.02, hspace=0.03)
    rows = ("real", "generated from the labels", "labels given")
    real = np.where(shown.known, shown.real.array, -1000).astype(np.float32)
    for r, name in enumerate(rows):
        for c, view in enumerate(views):
            axes = figure.add_subplot(layout[r, c])
            if r < 2:
                _slice(axes, view, real if r == 0 else shown.made.array.astype(np.float32), grid)
            else:
                _labels(axes, view, shown.labels)
            if r == 0:
                axes.set_title(view.name, color=INK, fontsize=10)
            if c == 0:
                axes.set_ylabel(name, color=INK, fontsize=10)
    figure.suptitle(f"{shown.case}: window -500 to 1000 HU", color=DIM, fontsize=9, y=0.92)
    return _save(figure, path)
