"""A result folder -> one picture: three planes in two windows, with the sketch, and the readout beside them. No torch.

Radiological convention: the patient's right is on the left of axial and coronal views, anterior on the left of sagittal
ones.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .anatomy import resolve, vocabulary
from .errors import BadRequest
from .geometry import ORIENTATIONS, Grid, Plane, Points
from .imaging import CTVolume, LabelVolume, read_ct, read_labels
from .preview_panel import AMBER, BACKGROUND, DIM, INK, SKETCH, draw_panel
from .request import GenerationRequest, Sketch

WINDOWS = (("Soft tissue", 400, 40), ("Bone", 2000, 400))  # name, width, level (HU)
DPI = 110
_OUTSIDE_HU = -2000.0  # black in every window
_ON_PLANE_MM = 1.0
_AIR_HU = -500
_MARGIN_MM = 8.0


@dataclass(frozen=True)
class View:
    """One plane to show: `low` and `high` are the corners (u, v) of what is shown, plane mm; `step` mm a pixel."""

    plane: Plane
    name: str
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    step: float

    def sample(self, array: NDArray, grid: Grid, outside: float) -> NDArray[np.float32]:
        """The volume on this plane, linear between voxels, (v, u): rows from the bottom up."""
        u, v = (np.arange(self.low[n], self.high[n], self.step) for n in (0, 1))
        index = grid.to_index(self.plane.to_ras(np.stack(np.meshgrid(u, v, indexing="ij"), axis=-1)))
        values = ndimage.map_coordinates(array, np.moveaxis(index, -1, 0), np.float32, order=1, cval=outside)
        return np.asarray(values).T

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, right, bottom, top in plane mm."""
        return (float(self.low[0]), float(self.high[0]), float(self.low[1]), float(self.high[1]))


def write_preview(result_dir: Path, out_png: Path) -> Path:
    """Draw the result in `result_dir` as the picture `out_png`; its path. Raises BadRequest if it is incomplete."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    labels, ct, request, manifest = _read(Path(result_dir))
    shown = _content(labels, ct, request.sketches)
    views = _same_height([_view(orientation, labels, request.sketches, shown) for orientation in ORIENTATIONS])
    widths = [float(view.high[0] - view.low[0]) for view in views]
    height = float(np.clip(17 * 2.05 * (views[0].high[1] - views[0].low[1]) / (1.4 * sum(widths)), 7, 12))
    figure = Figure(figsize=(17, height), dpi=DPI, facecolor=BACKGROUND)
    FigureCanvasAgg(figure)
    layout = figure.add_gridspec(
        2,
        4,
        width_ratios=[*widths, 0.40 * sum(widths)],
        left=0.012,
        right=0.988,
        top=0.955,
        bottom=0.02,
        wspace=0.03,
        hspace=0.04,
    )
    for row, window in enumerate(WINDOWS):
        for column, view in enumerate(views):
            axes = figure.add_subplot(layout[row, column])
            _draw_view(axes, view, window, labels, ct, request.sketches)
            if row == 0:
                axes.set_title(view.name, color=INK, fontsize=12, pad=6)
    draw_panel(figure.add_subplot(layout[:, 3]), request, manifest)
    out_png = Path(out_png)
    partial = out_png.with_name(f".{out_png.name}.partial-{os.getpid()}")
    try:
        figure.savefig(partial, format="png", facecolor=BACKGROUND, metadata={"Title": "SYNTHETIC - not for clinical use"})
        os.replace(partial, out_png)
    finally:
        partial.unlink(missing_ok=True)
    return out_png


def _read(folder: Path) -> tuple[LabelVolume, CTVolume, GenerationRequest, dict[str, Any]]:
    try:
        names = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadRequest(f"{folder} is no complete result folder: {error}.") from error
    labels = read_labels(folder / "labels.nii.gz", {int(value): resolve(name) for value, name in names.items()})
    return labels, read_ct(folder / "ct.nii.gz"), GenerationRequest.read(folder / "request.json"), manifest


def _content(labels: LabelVolume, ct: CTVolume, sketches: list[Sketch]) -> Points:
    """RAS mm of the corners of a box around the body, the labels and the strokes, with a margin."""
    box = ndimage.find_objects(((ct.array > _AIR_HU) | (labels.array > 0)).astype(np.uint8))
    sides = box[0] if box and box[0] is not None else tuple(slice(0, n) for n in labels.array.shape)
    low, high = (np.array([getattr(side, end) for side in sides], dtype=float) for end in ("start", "stop"))
    drawn = [labels.grid.to_index(sketch.points()) for sketch in sketches]
    margin = _MARGIN_MM / labels.grid.spacing
    low = np.min([low, *(points.min(axis=0) for points in drawn)], axis=0) - margin
    high = np.max([high - 1, *(points.max(axis=0) for points in drawn)], axis=0) + margin
    return labels.grid.to_ras([[(low, high)[a][0], (low, high)[b][1], (low, high)[c][2]] for a, b, c in np.ndindex(2, 2, 2)])


def _view(orientation: str, labels: LabelVolume, sketches: list[Sketch], shown: Points) -> View:
    """The plane to show: a sketch's own where one is near this orientation, else through the structures' middle."""
    standard = Plane.named(orientation, np.zeros(3))
    drawn = [sketch for sketch in sketches if sketch.plane.axis == standard.axis]
    centre = _centre(labels, sketches)
    plane, name = Plane.named(orientation, centre), orientation.capitalize()
    if drawn:
        plane = _upright(drawn[0].plane, standard, drawn[0].points().mean(axis=0))
        name += ", tilted to the sketch" if drawn[0].plane.orientation == "oblique" else ""
    position = float(plane.matrix[plane.axis, 3])
    flat = plane.to_plane(shown)
    step = float(labels.grid.spacing.min()) / 2
    return View(plane, f"{name}   {'RAS'[plane.axis]} {position:+.1f} mm", flat.min(0)[:2], flat.max(0)[:2], step)


def _same_height(views: list[View]) -> list[View]:
    """The views at one height in mm, so that they share one scale on the page."""
    tallest = max(float(view.high[1] - view.low[1]) for view in views)
    padding = [np.array([0.0, (tallest - float(view.high[1] - view.low[1])) / 2]) for view in views]
    return [replace(v, low=v.low - pad, high=v.high + pad) for v, pad in zip(views, padding, strict=True)]


def _centre(labels: LabelVolume, sketches: list[Sketch]) -> NDArray[np.float64]:
    wanted = {sketch.structure for sketch in sketches} or {n for n in labels.names.values() if not vocabulary()[n].derived}
    values = [value for value, name in labels.names.items() if name in wanted]
    found = np.argwhere(np.isin(labels.array, values))
    return labels.grid.to_ras(found.mean(axis=0)) if len(found) else labels.grid.centre


def _upright(plane: Plane, standard: Plane, origin: NDArray[np.float64]) -> Plane:
    """The plane with its axes turned to the radiological convention of the standard plane nearest to it."""
    normal = plane.normal * np.sign(plane.normal @ standard.normal)
    right = standard.matrix[:3, 0] - normal * (standard.matrix[:3, 0] @ normal)
    right = right / np.linalg.norm(right)
    up = standard.matrix[:3, 1] - normal * (standard.matrix[:3, 1] @ normal)
    up = up - right * (up @ right)
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([right, up / np.linalg.norm(up), normal], axis=1)
    matrix[:3, 3] = origin
    return Plane(matrix)


def _draw_view(axes: Any, view: View, window: tuple[str, int, int], labels: LabelVolume, ct: CTVolume, sketches: list[Sketch]) -> None:
    name, width, level = window
    image = view.sample(ct.array.astype(np.float32), ct.grid, _OUTSIDE_HU)
    limits = {"vmin": level - width / 2, "vmax": level + width / 2}
    axes.imshow(image, cmap="gray", origin="lower", extent=view.extent, interpolation="bilinear", **limits)
    for value, structure in labels.names.items():
        if vocabulary()[structure].derived:  # outlines of body, bone and air would hide what was made
            continue
        mask = view.sample((labels.array == value).astype(np.float32), labels.grid, 0.0)
        if mask.max() > 0.5:
            u, v = (np.arange(view.low[n], view.high[n], view.step) for n in (0, 1))
            color = np.asarray(vocabulary()[structure].color) / 255
            axes.contour(u, v, mask, levels=[0.5], colors=[color], linewidths=1.3)
    for sketch in sketches:
        _draw_sketch(axes, view, sketch)
    axes.set(xlim=view.extent[:2], ylim=view.extent[2:], xticks=[], yticks=[], aspect="equal", facecolor="black")
    for spine in axes.spines.values():
        spine.set_color("#2b3038")
    _annotate(axes, view, f"{name}   W {width}  L {level} HU")


def _draw_sketch(axes: Any, view: View, sketch: Sketch) -> None:
    """Strokes solid on their own plane; on a crossing one a fine line, and the points where they pierce it."""
    strokes = [view.plane.to_plane(stroke) for stroke in sketch.strokes]
    if max(float(np.abs(stroke[:, 2]).max()) for stroke in strokes) <= _ON_PLANE_MM:
        for stroke in strokes:
            axes.plot(stroke[:, 0], stroke[:, 1], color=SKETCH, linewidth=1.8, solid_capstyle="round")
        return
    trace = np.concatenate(strokes)
    if abs(float(view.plane.normal @ sketch.plane.normal)) < 0.5:
        axes.plot(trace[:, 0], trace[:, 1], color=SKETCH, linewidth=0.7, alpha=0.55)
    closed = [np.concatenate([s, s[:1]]) if sketch.closed else s for s in strokes]
    pierced = np.concatenate([_piercings(stroke) for stroke in closed])
    axes.plot(pierced[:, 0], pierced[:, 1], "o", color=SKETCH, markersize=4, markeredgecolor="black", markeredgewidth=0.5)


def _piercings(stroke: Points) -> Points:
    """Where a polyline (N, 3) of plane coordinates passes through w = 0, (M, 2)."""
    a, b = stroke[:-1], stroke[1:]
    cross = (a[:, 2] < 0) != (b[:, 2] < 0)
    a, b = a[cross], b[cross]
    share = a[:, 2] / (a[:, 2] - b[:, 2])
    return (a + share[:, None] * (b - a))[:, :2]


def _annotate(axes: Any, view: View, window: str) -> None:
    """Orientation letters, a scale bar of 5 cm, the window, and the notice."""
    from matplotlib.patheffects import withStroke

    halo = [withStroke(linewidth=2.5, foreground="black")]
    style = {"color": INK, "fontsize": 11, "fontweight": "bold", "transform": axes.transAxes, "path_effects": halo}
    left, right, bottom, top = _letters(view.plane)
    axes.text(0.015, 0.5, left, va="center", **style)
    axes.text(0.985, 0.5, right, va="center", ha="right", **style)
    axes.text(0.5, 0.985, top, va="top", ha="center", **style)
    axes.text(0.5, 0.015, bottom, ha="center", **style)
    small = {"fontsize": 8.5, "transform": axes.transAxes, "path_effects": halo}
    axes.text(0.015, 0.055, window, color=DIM, **small)
    axes.text(0.015, 0.015, "SYNTHETIC", color=AMBER, fontweight="bold", **small)
    span = view.high - view.low
    u, v = view.high[0] - 0.03 * span[0], view.low[1] + 0.035 * span[1]
    axes.plot([u - 50, u], [v, v], color=INK, linewidth=2, solid_capstyle="butt", path_effects=halo)
    axes.text(u - 25, v + 0.012 * span[1], "5 cm", color=INK, fontsize=8.5, ha="center", va="bottom", path_effects=halo)


def _letters(plane: Plane) -> tuple[str, str, str, str]:
    """What lies to the left, right, bottom and top of the picture: R, L, A, P, H (head) or F (feet)."""

    def letter(direction: NDArray[np.float64]) -> str:
        axis = int(np.abs(direction).argmax())
        return ("LR", "PA", "FH")[axis][int(direction[axis] > 0)]

    right, up = plane.matrix[:3, 0], plane.matrix[:3, 1]
    return letter(-right), letter(right), letter(-up), letter(up)
