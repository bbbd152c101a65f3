"""Drawing with the mouse on Slicer's slice views, and all that must go on working meanwhile."""

from __future__ import annotations

import numpy as np
import pytest

from drawing_bench import drawing_views, farthest, load_noise, measure_drawing, oblique_plane, wavy_circle
from headless_slicer.views import open_layout
from Sketch2CTModuleLib.LayoutViews import LayoutViews
from Sketch2CTModuleLib.Signal import Signal
from Sketch2CTModuleLib.SketchBook import SketchBook
from Sketch2CTModuleLib.SketchGuides import SketchGuides
from Sketch2CTModuleLib.SketchPen import SketchPen

SIZE = (400, 360)
MIDDLE = (200, 180)


class Table:
    """Three views with a volume, a book, and the pen over them."""

    def __init__(self, app) -> None:
        self.app = app
        self.views = open_layout(app.scene, app.app_logic, SIZE)
        self.volume = load_noise(app, self.views.values())
        self.red, self.green, self.yellow = self.views.values()
        self.book = SketchBook(app.scene)
        self.pen = SketchPen(self.book, lambda: drawing_views(self.views.values()))
        self.pen.structure = "mandible"
        self.refusals: list[str] = []
        self.pen.refused.connect(self.refusals.append)
        self.pen.setMode("draw")

    @property
    def strokes(self):
        return self.book.strokes()

    def draw(self, view=None, x=MIDDLE[0], y=MIDDLE[1], radius=70, **shape) -> list[tuple[int, int]]:
        path = wavy_circle(x, y, radius, **shape)
        (view or self.red).drag(path)
        return path


@pytest.fixture
def table(slicer_app):
    table = Table(slicer_app)
    yield table
    table.pen.cleanup()
    table.book.cleanup()
    for view in table.views.values():
        view.close()


def changed_pixels(view, action) -> int:
    before = view.image().astype(int)
    action()
    return int((np.abs(view.image().astype(int) - before).sum(axis=-1) > 60).sum())


def props(view) -> int:
    return view.renderer.GetViewProps().GetNumberOfItems()


# Where strokes come to lie


@pytest.mark.parametrize("name", ["Red", "Green", "Yellow", "oblique"])
def test_a_stroke_lies_where_the_mouse_went(table, name):
    view = table.views.get(name, table.green)
    if name == "oblique":
        view.setPlane(oblique_plane(view.plane()))
    view.setOffset(view.node.GetSliceOffset() + 7.3)
    path = table.draw(view)
    (stroke,) = table.strokes
    drawn = np.array([view.xy_to_ras(x, y) for x, y in path])
    assert farthest(drawn, stroke.points) < 0.1
    assert farthest(stroke.points, drawn) < 0.1
    plane = view.plane()
    assert np.abs((stroke.points - plane[:3, 3]) @ plane[:3, 2]).max() < 1e-6
    assert np.allclose(stroke.plane[:3, :3].T @ stroke.plane[:3, :3], np.eye(3), atol=1e-12)
    assert np.allclose(stroke.plane, plane, atol=1e-6)
    assert (stroke.structure, stroke.meaning) == ("mandible", "cross_section")


def test_a_zoomed_and_panned_view_gives_the_same_places(table):
    table.red.event("MouseWheelForwardEvent", *MIDDLE, ctrl=True)
    table.red.drag([(100, 100), (110, 120), (140, 130)], "Middle")
    path = table.draw()
    drawn = np.array([table.red.xy_to_ras(x, y) for x, y in path])
    assert farthest(drawn, table.strokes[0].points) < 0.1


def test_few_points_are_kept_and_long_scribbles_stay_usable(table):
    table.draw(count=800)
    assert len(table.strokes[0].points) < 400
    rng = np.random.default_rng(0)
    table.red.drag([(int(x), int(y)) for x, y in rng.integers(50, 300, (4000, 2))])
    assert len(table.strokes[1].points) <= 1500


def test_a_straight_stroke_keeps_enough_points_for_a_request(table):
    table.red.drag([(100, 100), (250, 100)])
    assert len(table.strokes[0].points) == 3
    assert table.book.requestSketches()[0].structure == "mandible"


def test_the_drawn_signal_brings_the_stroke(table):
    drawn = []
    table.pen.strokeDrawn.connect(drawn.append)
    table.pen.meaning = "silhouette"
    table.draw()
    assert drawn == list(table.strokes)
    assert drawn[0].meaning == "silhouette"


def test_the_benchmark_meets_its_figures(tmp_path):
    figures = measure_drawing(tmp_path / "bench", moves=200)
    assert figures["move_ms_median"] < 1.0
    assert figures["move_ms_p95"] < 4.0
    assert figures["in_plane_mm"] < 0.1
    assert figures["off_plane_mm"] < 0.001


# What is no stroke


def test_a_click_is_ignored_silently(table):
    table.red.click(150, 150)
    assert not table.strokes
    assert not table.refusals


def test_a_short_line_is_refused_with_words(table):
    table.red.drag([(150, 150), (151, 150)])
    assert not table.strokes
    assert "too short" in table.refusals[0]


def test_without_a_structure_nothing_is_drawn(table):
    table.pen.structure = ""
    table.draw()
    assert not table.strokes
    assert "structure" in table.refusals[0]


def test_a_light_box_view_is_refused(table):
    table.red.node.SetDimensions(200, 180, 4)  # as Slicer versions that still have light boxes set it
    table.draw()
    assert not table.strokes
    assert "light box" in table.refusals[0]


def test_escape_drops_the_line_in_hand_and_then_the_pen(table):
    modes = []
    table.pen.modeChanged.connect(modes.append)
    path = wavy_circle(*MIDDLE, 60)
    table.red.press(*path[0])
    for x, y in path[1:50]:
        table.red.move(x, y)
    table.red.event("KeyPressEvent", key="Escape")
    table.red.release(*path[50])
    assert not table.strokes
    assert not modes
    table.red.event("KeyPressEvent", key="Escape")
    assert modes == ["off"]
    assert table.pen.mode == "off"


def test_a_lost_release_costs_one_line_only(table):
    table.red.press(100, 100)
    table.red.move(160, 160)
    path = table.draw()
    assert len(table.strokes) == 1
    assert farthest(np.array([table.red.xy_to_ras(*path[0])]), table.strokes[0].points) < 0.1


def test_a_double_click_neither_maximizes_the_view_nor_draws(table):
    layout = table.app.scene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    table.red.click(100, 100)
    table.red.press(100, 100)
    table.red.event("LeftButtonDoubleClickEvent", 100, 100)
    table.red.release(100, 100)
    table.red.event("LeftButtonDoubleClickEvent", 100, 100)
    table.red.release(100, 100)
    assert not table.strokes
    assert layout is None or layout.GetMaximizedViewNode(0) is None


# What goes on working with the pen on


def test_the_wheel_scrolls_and_zooms(table):
    offset, width = table.red.node.GetSliceOffset(), table.red.node.GetFieldOfView()[0]
    table.red.event("MouseWheelForwardEvent", *MIDDLE)
    assert table.red.node.GetSliceOffset() != offset
    table.red.event("MouseWheelForwardEvent", *MIDDLE, ctrl=True)
    assert table.red.node.GetFieldOfView()[0] != width


@pytest.mark.parametrize(("button", "modifiers"), [("Right", {}), ("Middle", {}), ("Left", {"shift": True})])
def test_zoom_and_pan_by_dragging(table, button, modifiers):
    before = (table.red.node.GetFieldOfView(), table.red.node.GetXYZOrigin())
    table.red.drag([(100, 100), (110, 120), (120, 150)], button, **modifiers)
    assert (table.red.node.GetFieldOfView(), table.red.node.GetXYZOrigin()) != before
    assert not table.strokes


def test_window_and_level_by_mouse(table):
    mouse = table.app.app_logic.GetInteractionNode()
    mouse.SetCurrentInteractionMode(mouse.AdjustWindowLevel)
    display = table.volume.GetDisplayNode()
    before = (display.GetWindow(), display.GetLevel())
    table.red.drag([(100, 100), (110, 120), (120, 150)])
    assert (display.GetWindow(), display.GetLevel()) != before
    assert not table.strokes
    mouse.SetCurrentInteractionMode(mouse.ViewTransform)
    table.draw()
    assert len(table.strokes) == 1


def test_placing_a_markup(table):
    point = table.app.scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
    point.CreateDefaultDisplayNodes()
    selection, mouse = table.app.app_logic.GetSelectionNode(), table.app.app_logic.GetInteractionNode()
    selection.SetReferenceActivePlaceNodeClassName("vtkMRMLMarkupsFiducialNode")
    selection.SetActivePlaceNodeID(point.GetID())
    mouse.SetCurrentInteractionMode(mouse.Place)
    table.red.click(150, 160)
    assert point.GetNumberOfDefinedControlPoints() == 1
    assert not table.strokes


def test_the_crosshair_follows_and_shift_jumps_the_other_views(table):
    crosshair = table.app.scene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
    ras = [0.0, 0.0, 0.0]
    table.red.move(120, 130)
    crosshair.GetCursorPositionRAS(ras)
    assert np.allclose(ras, table.red.xy_to_ras(120, 130), atol=1e-3)
    table.red.move(90, 130, shift=True)
    assert table.yellow.plane()[0, 3] == pytest.approx(table.red.xy_to_ras(90, 130)[0], abs=1e-3)


def test_while_a_line_is_in_hand_nothing_else_moves(table):
    before = (table.red.plane().tolist(), table.red.node.GetFieldOfView(), table.green.plane().tolist())
    path = wavy_circle(*MIDDLE, 60)
    table.red.press(*path[0])
    for n, (x, y) in enumerate(path[1:]):
        table.red.move(x, y, shift=n % 2 == 0)
        table.red.event("MouseWheelForwardEvent", x, y)
    table.red.drag([path[-1], (200, 200), (220, 240)], "Right")
    table.red.drag([(220, 240), path[-1]], "Middle")
    table.red.event("KeyPressEvent", key="Up")
    table.red.release(*path[-1])
    assert (table.red.plane().tolist(), table.red.node.GetFieldOfView(), table.green.plane().tolist()) == before
    assert len(table.strokes) == 1


def test_points_can_be_dragged_when_the_pen_is_off_and_not_when_it_is_on(table):
    table.draw()
    first = table.strokes[0].points[10]
    x, y = table.red.ras_to_xy(first)
    away = [(x, y), (x + 3, y + 3), (x + 12, y + 10), (x + 15, y + 12)]
    table.pen.setMode("off")
    table.red.drag(away)
    (edited,) = table.strokes
    assert np.linalg.norm(edited.points[10] - table.red.xy_to_ras(*away[-1])) < 2.0
    table.book.undo()
    assert np.allclose(table.strokes[0].points[10], first)
    table.pen.setMode("draw")
    table.red.drag(away)
    assert np.allclose(table.strokes[0].points[10], first)
    assert len(table.strokes) == 2


# Turning it off


def test_off_leaves_nothing_behind(table):
    shown = props(table.red)
    table.pen.setMode("off")
    assert props(table.red) < shown
    offset = table.red.plane().tolist()
    table.draw()
    assert not table.strokes
    assert table.red.plane().tolist() == offset


def test_an_unknown_mode_is_an_error(table):
    with pytest.raises(ValueError, match="off, draw, erase"):
        table.pen.setMode("paint")


def test_turning_off_from_a_listener_of_the_stroke_is_safe(table):
    table.pen.strokeDrawn.connect(lambda _stroke: table.pen.setMode("off"))
    table.draw()
    table.draw(x=230)
    assert len(table.strokes) == 1


# The eraser


def test_the_eraser_takes_the_nearest_stroke_under_it(table):
    table.draw(radius=60)
    path = table.draw(radius=90)
    table.pen.setMode("erase")
    x, y = path[0]
    table.red.click(x + 5, y)
    assert len(table.strokes) == 1
    table.red.click(*MIDDLE)
    table.red.click(x + 5, y)
    assert len(table.strokes) == 1
    table.book.undo()
    assert len(table.strokes) == 2


def test_the_eraser_leaves_other_slices_and_hidden_sketches_alone(table):
    path = table.draw()
    table.pen.setMode("erase")
    table.red.setOffset(table.red.node.GetSliceOffset() + 3)
    table.red.click(*path[0])
    assert len(table.strokes) == 1
    table.red.setOffset(table.red.node.GetSliceOffset() - 3)
    table.book.setVisible(table.book.sketches()[0], False)
    table.red.click(*path[0])
    assert len(table.strokes) == 1


# What is seen


def test_the_line_in_hand_and_its_gap_are_seen_while_drawing(table):
    path = wavy_circle(*MIDDLE, 80, turn=4.0)
    table.red.press(*path[0])
    assert changed_pixels(table.red, lambda: [table.red.move(x, y) for x, y in path[1:]]) > 500
    image = table.red.image()
    x, y = ((np.array(path[0]) + path[-1]) / 2).astype(int)
    dashed = image[SIZE[1] - 1 - y - 12 : SIZE[1] - 1 - y + 12, x - 12 : x + 12].reshape(-1, 3).astype(int)
    assert (dashed.max(axis=1) - dashed.min(axis=1)).max() > 60  # the volume is grey
    table.red.release(*path[-1])


def test_a_stroke_is_solid_on_its_slice_faded_nearby_and_gone_further_away(table):
    guides = SketchGuides(table.book, lambda: drawing_views(table.views.values()))
    guides.setShown(True)
    table.draw()
    home = table.red.node.GetSliceOffset()

    def colour(offset: float) -> float:
        """How much the stroke stands out from the grey volume."""
        table.red.setOffset(home + offset)
        image = table.red.image().astype(int)
        return float((image.max(axis=-1) - image.min(axis=-1)).sum())

    solid, near, nearly, far = (colour(offset) for offset in (0.0, 2.0, 3.0, 6.0))
    assert solid > 2 * near > 2 * nearly > 0
    assert far == 0
    guides.cleanup()
    assert colour(2.0) == 0


def test_the_bridges_of_an_open_outline_are_seen_where_it_was_drawn(table):
    guides = SketchGuides(table.book, lambda: drawing_views(table.views.values()))
    table.red.drag(wavy_circle(*MIDDLE, 80, turn=2.2))
    assert changed_pixels(table.red, lambda: guides.setShown(True)) > 40
    assert changed_pixels(table.green, lambda: guides.setShown(False)) == 0
    guides.cleanup()


def test_guides_follow_zoom_and_visibility(table):
    guides = SketchGuides(table.book, lambda: drawing_views(table.views.values()))
    guides.setShown(True)
    table.red.drag(wavy_circle(*MIDDLE, 80, turn=2.2))
    table.red.event("MouseWheelForwardEvent", *MIDDLE, ctrl=True)
    sketch = table.book.sketches()[0]
    x, y = table.red.ras_to_xy(sketch.bridges.mean(axis=1)[0])
    image = table.red.image()
    near = image[SIZE[1] - 1 - y - 12 : SIZE[1] - 1 - y + 12, x - 12 : x + 12].reshape(-1, 3).astype(int)
    assert (near.max(axis=1) - near.min(axis=1)).max() > 60
    table.book.setVisible(sketch, False)
    image = table.red.image().astype(int)
    assert (image.max(axis=-1) - image.min(axis=-1)).max() == 0
    guides.cleanup()


# The layout of the application


class LayoutManager:
    """What LayoutViews asks of the desktop's layout manager."""

    class Widget:
        def __init__(self, view) -> None:
            self.view = view

        def sliceView(self):
            return self

        def interactor(self):
            return self.view.interactor

        def mrmlSliceNode(self):
            return self.view.node

        def scheduleRender(self) -> None:
            self.view.requestRender()

    def __init__(self, views) -> None:
        self.views, self.layoutChanged = views, Signal()

    def sliceViewNames(self):
        return tuple(self.views)

    def sliceWidget(self, name):
        return self.Widget(self.views[name])

    def connect(self, signal, slot) -> None:
        assert signal == "layoutChanged(int)"
        self.layoutChanged.connect(slot)

    def disconnect(self, signal, slot) -> None:
        self.layoutChanged.disconnect(slot)


def test_views_that_a_new_layout_brings_can_be_drawn_on(table):
    table.pen.setMode("off")
    manager = LayoutManager({"Red": table.red})
    views = LayoutViews(manager)
    pen = SketchPen(table.book, views)
    pen.structure = "mandible"
    pen.setMode("draw")
    table.draw(table.green)
    assert not table.strokes
    manager.views["Green"] = table.green
    manager.layoutChanged.emit(3)
    table.draw(table.green)
    assert len(table.strokes) == 1
    del manager.views["Green"]
    manager.layoutChanged.emit(4)
    table.draw(table.green)
    assert len(table.strokes) == 1
    pen.cleanup()
    views.release()
    manager.layoutChanged.emit(5)
    table.draw(table.red)
    assert len(table.strokes) == 1


def test_on_the_views_of_the_application_with_qt_mouse_events(desktop):
    book = SketchBook(desktop.scene)
    pen, guides = SketchPen(book), SketchGuides(book)
    pen.structure = "mandible"
    pen.setMode("draw")
    guides.setShown(True)
    path = wavy_circle(120, 110, 50, count=40)
    for name in ("Red", "Green", "Yellow"):
        desktop.drag(name, path)
        drawn = np.array([desktop.ras(name, position) for position in path])
        assert farthest(drawn, book.strokes()[-1].points) < 0.1
    assert [entry.planeLabel.split(",")[0] for entry in book.sketches()] == ["axial", "coronal", "sagittal"]
    pen.cleanup()
    guides.cleanup()
    desktop.drag("Red", path)
    assert len(book.strokes()) == 3
    book.cleanup()
