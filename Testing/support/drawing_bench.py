"""What the pen costs and how exactly it draws, on Slicer's own slice views with synthetic mouse events.

`measure_drawing` is the benchmark; `drawing_views`, `wavy_circle` and the distances serve the tests as well.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import slicer
from numpy.typing import NDArray

from headless_slicer import HeadlessSlicer, bootstrap
from headless_slicer.views import SliceView, open_layout
from Sketch2CTModuleLib.LayoutViews import DrawingView
from Sketch2CTModuleLib.SketchBook import SketchBook
from Sketch2CTModuleLib.SketchPen import SketchPen

Pixels = list[tuple[int, int]]
SIZE = (800, 700)
TILT = 0.45  # radians; the oblique view is the axial one turned about two axes


def measure_drawing(folder: Path, moves: int = 600) -> dict[str, float]:
    """Draw on an axial, a coronal and an oblique view; temporary files go to `folder`.

    `move_ms_*`: one mouse move with the line in hand, without drawing the picture, over all views. `idle_move_ms_*`: the
    same with the pen off, which is Slicer's own part. `press_ms_max`, `release_ms_max`: beginning and storing a stroke.
    `in_plane_mm`, `off_plane_mm`: the largest distance between the drawn path and the stored curve, either way, and of
    the curve from its plane.
    """
    folder.mkdir(parents=True, exist_ok=True)
    app = bootstrap(folder)
    views = list(open_layout(app.scene, app.app_logic, SIZE).values())
    try:
        return _measure(app, views, moves)
    finally:
        for view in views:
            view.close()
        app.close()


def _measure(app: HeadlessSlicer, views: list[SliceView], moves: int) -> dict[str, float]:
    load_noise(app, views)
    views[2].setPlane(oblique_plane(views[0].plane()))
    book = SketchBook(app.scene)
    pen = SketchPen(book, lambda: drawing_views(views))
    pen.structure = "mandible"
    path = wavy_circle(SIZE[0] / 2, SIZE[1] / 2, 200, moves)
    idle = [seconds for view in views for seconds in _timed_moves(view, path)]
    pen.setMode("draw")
    busy, presses, releases, inside, off = [], [], [], [], []
    for view in views:
        gc.collect()  # what making the scene left behind is not the pen's
        view.move(*path[0])
        presses.append(_timed(view.press, *path[0]))
        busy += _timed_moves(view, path[1:])
        releases.append(_timed(view.release, *path[-1]))
        stroke = book.strokes()[-1]
        drawn = np.array([view.xy_to_ras(x, y) for x, y in path])
        curve = slicer.util.arrayFromMarkupsCurvePoints(book.node(stroke.id))[: -1 if stroke.closesItself else None]
        inside.append(max(farthest(drawn, stroke.points), farthest(curve, np.vstack([drawn, drawn[:1]]))))
        plane = view.plane()
        off.append(float(np.abs((curve - plane[:3, 3]) @ plane[:3, 2]).max()))
    pen.cleanup()
    book.cleanup()
    milliseconds = {"move": np.array(busy) * 1e3, "idle_move": np.array(idle) * 1e3}
    figures = {
        f"{name}_ms_{word}": float(np.percentile(values, percent))
        for name, values in milliseconds.items()
        for word, percent in (("median", 50), ("p95", 95), ("max", 100))
    }
    figures |= {"press_ms_max": max(presses) * 1e3, "release_ms_max": max(releases) * 1e3}
    return figures | {"in_plane_mm": max(inside), "off_plane_mm": max(off), "moves": float(len(busy))}


def _timed(action, *values) -> float:
    start = time.perf_counter()
    action(*values)
    return time.perf_counter() - start


def _timed_moves(view: SliceView, path: Pixels) -> list[float]:
    return [_timed(view.move, x, y) for x, y in path]


def load_noise(app: HeadlessSlicer, views: Iterable[SliceView]) -> object:
    """A noisy volume behind all views, fitted. Returns its node."""
    volume = app.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "noise")
    slicer.util.updateVolumeFromArray(volume, np.random.default_rng(0).integers(-200, 300, (48, 96, 96)).astype(np.int16))
    volume.SetSpacing(2.0, 2.0, 3.0)
    volume.SetOrigin(-95.0, -95.0, -70.0)
    volume.CreateDefaultDisplayNodes()
    volume.GetDisplayNode().SetAutoWindowLevel(False)
    volume.GetDisplayNode().SetWindowLevel(400, 40)
    for view in views:
        view.composite.SetBackgroundVolumeID(volume.GetID())
        view.fit()
    return volume


def drawing_views(views: Iterable[SliceView]) -> list[DrawingView]:
    """The views as the pen takes them."""
    return [DrawingView(view.interactor, view.node, view.renderer, view.requestRender) for view in views]


def oblique_plane(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    """A plane (4x4 SliceToRAS) turned about R and A."""
    cos, sin = np.cos(TILT), np.sin(TILT)
    about_r = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    about_a = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
    turned = plane.copy()
    turned[:3, :3] = about_a @ about_r @ plane[:3, :3]
    return turned


def wavy_circle(x: float, y: float, radius: float, count: int = 120, turn: float = 2 * np.pi - 0.1) -> Pixels:
    """A hand's outline in pixels: round, uneven, not quite closed."""
    angle = np.linspace(0, turn, count)
    length = radius * (1 + 0.08 * np.sin(3 * angle + 1) + 0.04 * np.sin(7 * angle))
    return [(round(a), round(b)) for a, b in zip(x + length * np.cos(angle), y + length * np.sin(angle), strict=True)]


def farthest(points: NDArray[np.float64], line: Sequence | NDArray[np.float64]) -> float:
    """The largest distance (mm) of `points` (N, 3) from an open polyline (M, 3)."""
    line = np.asarray(line, dtype=np.float64)
    start, step = line[:-1], np.diff(line, axis=0)
    square = np.maximum((step**2).sum(axis=1), 1e-18)
    worst = 0.0
    for point in points:
        along = np.clip(((point - start) * step).sum(axis=1) / square, 0, 1)
        worst = max(worst, float(np.linalg.norm(start + along[:, None] * step - point, axis=1).min()))
    return worst
