"""The sketches of a scene: what is stored, undone, edited elsewhere, saved and loaded."""

from __future__ import annotations

import json

import numpy as np
import pytest
import slicer

from drawing_bench import farthest
from sketch2ct.anatomy import vocabulary
from sketch2ct.errors import BadRequest
from sketch2ct.geometry import Plane
from Sketch2CTModuleLib.SketchBook import SketchBook
from Sketch2CTModuleLib.SketchEntry import SketchEntry, planeLabel
from Sketch2CTModuleLib.Stroke import Stroke, rigidPlane, simplified
from Sketch2CTModuleLib.StrokeNode import FOLDER

AXIAL = Plane.named("axial", [3.0, -4.0, 12.5]).matrix
CORONAL = Plane.named("coronal", [0.0, -31.0, 2.0]).matrix


def stroke(plane=AXIAL, radius=20.0, turn=2 * np.pi - 0.1, start=0.0, structure="mandible", **other) -> Stroke:
    angle = np.linspace(start, start + turn, 40)
    flat = np.stack([radius * np.cos(angle), 0.7 * radius * np.sin(angle)], axis=1)
    return Stroke(structure, plane, Plane(plane).to_ras(flat), **other)


def oblique() -> np.ndarray:
    cos, sin = np.cos(0.4), np.sin(0.4)
    plane = AXIAL.copy()
    plane[:3, :3] = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]]) @ plane[:3, :3]
    return plane


@pytest.fixture
def book(slicer_app):
    book = SketchBook(slicer_app.scene)
    yield book
    book.cleanup()


@pytest.fixture
def changes(book):
    heard: list[int] = []
    book.changed.connect(lambda: heard.append(len(book.strokes())))
    return heard


def curves(scene) -> list:
    return slicer.util.getNodesByClass("vtkMRMLMarkupsCurveNode", scene)


def same(one: Stroke, other: Stroke, tolerance=1e-9) -> bool:
    return (
        one.points.shape == other.points.shape
        and np.abs(one.points - other.points).max() < tolerance
        and np.abs(one.plane - other.plane).max() < tolerance
        and (one.structure, one.meaning, one.id) == (other.structure, other.meaning, other.id)
    )


# Strokes as plain data


def test_a_stroke_knows_its_length_gap_and_whether_it_closes():
    almost, half = stroke(), stroke(turn=np.pi)
    assert almost.closesItself
    assert almost.gapMm < 2.5
    assert not half.closesItself
    assert half.gapMm == pytest.approx(40.0)
    assert half.lengthMm > half.gapMm


@pytest.mark.parametrize(
    ("offset", "degrees", "together"), [(0.0, 0.0, True), (0.04, 0.0, True), (0.06, 0.0, False), (0.0, 0.02, True), (0.0, 0.2, False)]
)
def test_strokes_on_nearly_the_same_plane_belong_together(offset, degrees, together):
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    plane = AXIAL.copy()
    plane[:3, :3] = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]]) @ plane[:3, :3]
    plane[2, 3] += offset
    assert stroke().sameSketch(stroke(plane)) is together


def test_a_sheared_view_still_gives_a_rigid_plane_that_its_points_lie_on():
    given = oblique()
    given[:3, 1] = 1.02 * given[:3, 1] + 1e-4 * given[:3, 0]
    given[:3, 2] += 1e-3 * given[:3, 0]
    plane = rigidPlane(given)
    assert np.allclose(plane[:3, :3].T @ plane[:3, :3], np.eye(3), atol=1e-12)
    assert np.sign(np.linalg.det(plane)) == np.sign(np.linalg.det(given))
    corner = given[:3, :2] @ [170.0, -230.0] + given[:3, 3]
    assert abs((corner - plane[:3, 3]) @ plane[:3, 2]) < 1e-9


def test_a_simplified_line_stays_within_the_tolerance():
    angle = np.linspace(0, 6, 900)
    line = np.stack([30 * np.cos(angle), 20 * np.sin(2 * angle), 0 * angle], axis=1)
    short = simplified(line, 0.05)
    assert len(short) < 100
    assert farthest(line, short) <= 0.05
    assert np.array_equal(short[[0, -1]], line[[0, -1]])


@pytest.mark.parametrize(
    ("plane", "label"),
    [
        (AXIAL, "axial, S 12.5 mm"),
        (Plane.named("axial", [0, 0, -7.26]).matrix, "axial, I 7.3 mm"),
        (CORONAL, "coronal, P 31.0 mm"),
        (Plane.named("sagittal", [-8.0, 0, 0]).matrix, "sagittal, L 8.0 mm"),
        (oblique(), "oblique"),
    ],
)
def test_planes_are_named_as_radiologists_do(plane, label):
    assert planeLabel(plane) == label


def test_the_gap_of_a_sketch_is_what_chaining_its_pieces_will_bridge():
    left, right = stroke(turn=2.8), stroke(turn=2.8, start=np.pi)
    sketch = SketchEntry((left, right, stroke(radius=5.0, turn=2 * np.pi)))
    expected = np.linalg.norm(left.points[-1] - right.points[0]) + np.linalg.norm(right.points[-1] - left.points[0])
    assert sketch.gapMm == pytest.approx(expected)
    assert sketch.bridges.shape == (2, 2, 3)
    assert sketch.lengthMm == pytest.approx(sum(item.lengthMm for item in sketch.strokes))


# Strokes as nodes


def test_a_stroke_becomes_a_curve_that_tells_everything(book, slicer_app):
    drawn = stroke(meaning="silhouette")
    book.add(drawn)
    (node,) = curves(slicer_app.scene)
    assert node.GetClassName() == "vtkMRMLMarkupsClosedCurveNode"
    assert node.GetName() == "Mandible sketch, axial S 12.5 mm"
    assert np.abs(slicer.util.arrayFromMarkupsControlPoints(node) - drawn.points).max() < 1e-9
    assert node.GetCurveType() == slicer.vtkCurveGenerator.CURVE_TYPE_LINEAR_SPLINE
    assert not node.GetLocked()
    assert np.allclose(node.GetDisplayNode().GetSelectedColor(), np.array(vocabulary()["mandible"].color) / 255, atol=1e-6)
    assert not node.GetDisplayNode().GetPointLabelsVisibility()
    attributes = {name: node.GetAttribute(f"Sketch2CT.{name}") for name in ("sketch", "structure", "meaning", "id")}
    assert attributes == {"sketch": "input", "structure": "mandible", "meaning": "silhouette", "id": drawn.id}
    assert np.array_equal(json.loads(node.GetAttribute("Sketch2CT.plane")), drawn.plane)


def test_an_open_piece_is_an_open_curve_and_all_lie_in_one_folder(book, slicer_app):
    book.add(stroke(turn=2.0))
    book.add(stroke(CORONAL))
    assert [node.GetClassName() for node in curves(slicer_app.scene)] == ["vtkMRMLMarkupsCurveNode", "vtkMRMLMarkupsClosedCurveNode"]
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer_app.scene)
    folder = hierarchy.GetItemByName(FOLDER)
    for node in curves(slicer_app.scene):
        assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) == folder
    book.clear()
    assert not hierarchy.GetItemByName(FOLDER)
    book.undo()
    assert hierarchy.GetNumberOfItemChildren(hierarchy.GetItemByName(FOLDER)) == 2


# Steps


def test_undo_and_redo_go_through_drawing_erasing_and_clearing(book, slicer_app):
    one, two, three = stroke(), stroke(CORONAL), stroke(oblique(), structure="brainstem")
    for item in (one, two, three):
        book.add(item)
    book.removeStroke(two.id)
    book.clear()
    seen = []
    while book.canUndo:
        book.undo()
        seen.append([item.id for item in book.strokes()])
    ids = [one.id, two.id, three.id]
    assert seen == [[ids[0], ids[2]], ids, ids[:2], ids[:1], []]
    assert not curves(slicer_app.scene)
    while book.canRedo:
        book.redo()
    assert not book.strokes()
    book.undo()
    assert {node.GetAttribute("Sketch2CT.id") for node in curves(slicer_app.scene)} == {one.id, three.id}
    assert all(same(kept, drawn) for kept, drawn in zip(book.strokes(), (one, three), strict=True))


def test_removing_what_is_not_there_is_no_step(book, changes):
    book.clear()
    book.removeStroke("nothing")
    book.undo()
    book.redo()
    assert not book.canUndo
    book.add(stroke())
    book.removeStroke("nothing")
    book.undo()
    assert not book.canUndo


def test_every_change_is_told(book, changes):
    book.add(stroke())
    book.add(stroke(CORONAL))
    book.undo()
    book.redo()
    book.setVisible(book.sketches()[0], False)
    assert changes == [1, 2, 1, 2, 2]


# Sketches


def test_strokes_are_grouped_by_structure_plane_and_meaning(book):
    items = [stroke(), stroke(CORONAL), stroke(radius=4.0), stroke(structure="brainstem"), stroke(meaning="silhouette"), stroke(oblique())]
    for item in items:
        book.add(item)
    found = [(s.structure, s.meaning, s.planeLabel, len(s.strokes)) for s in book.sketches()]
    assert found == [
        ("mandible", "cross_section", "axial, S 12.5 mm", 2),
        ("mandible", "cross_section", "coronal, P 31.0 mm", 1),
        ("brainstem", "cross_section", "axial, S 12.5 mm", 1),
        ("mandible", "silhouette", "axial, S 12.5 mm", 1),
        ("mandible", "cross_section", "oblique", 1),
    ]
    book.removeSketch(book.sketches()[0])
    assert len(book.strokes()) == 4


def test_a_sketch_can_be_hidden_and_drawing_on_it_shows_it_again(book, changes):
    book.add(stroke())
    book.add(stroke(CORONAL))
    sketch = book.sketches()[0]
    book.setVisible(sketch, False)
    assert [entry.visible for entry in book.sketches()] == [False, True]
    assert not book.isVisible(sketch)
    assert len(book.requestSketches()) == 2
    book.add(stroke(radius=5.0))
    assert all(entry.visible for entry in book.sketches())


def test_hiding_a_curve_in_the_data_module_is_noticed(book, changes):
    book.add(stroke())
    book.node(book.strokes()[0].id).GetDisplayNode().SetVisibility(False)
    assert not book.sketches()[0].visible
    assert changes == [1, 1]


def test_sketches_become_a_request(book):
    drawn = stroke(oblique())
    book.add(drawn)
    book.add(stroke(CORONAL, structure="brainstem", turn=2.0, meaning="silhouette"))
    first, second = book.requestSketches()
    assert np.abs(first.points() - drawn.points).max() < 1e-9
    assert np.array_equal(first.plane.matrix, drawn.plane)
    assert (second.structure, second.meaning, second.closed) == ("brainstem", "silhouette", True)


def test_no_sketch_and_a_short_sketch_are_refused_with_a_hint(book):
    with pytest.raises(BadRequest, match="no sketch") as error:
        book.requestSketches()
    assert "draw" in error.value.hint.lower()
    book.add(stroke(radius=0.1))
    with pytest.raises(BadRequest, match="too short"):
        book.requestSketches()


# What the user does elsewhere


def test_a_dragged_point_is_one_step_and_stays_on_its_plane(book):
    drawn = stroke(oblique())
    book.add(drawn)
    node = book.node(drawn.id)
    node.InvokeEvent(node.PointStartInteractionEvent)
    for step in range(1, 4):
        node.SetNthControlPointPosition(5, *(drawn.points[5] + [step, 0.0, 2.0 * step]))
    node.InvokeEvent(node.PointEndInteractionEvent)
    (edited,) = book.strokes()
    assert edited.id == drawn.id
    assert np.abs(edited.distances(edited.points)).max() < 1e-9
    assert 2.0 < np.linalg.norm(edited.points[5] - drawn.points[5]) < 7.0
    assert np.abs(slicer.util.arrayFromMarkupsControlPoints(node) - edited.points).max() < 1e-9
    book.undo()
    assert np.abs(slicer.util.arrayFromMarkupsControlPoints(node) - drawn.points).max() < 1e-9
    book.redo()
    assert same(book.strokes()[0], edited)


def test_a_coordinate_typed_into_the_markups_table_is_taken_over(book):
    drawn = stroke()
    book.add(drawn)
    book.node(drawn.id).SetNthControlPointPosition(0, *(drawn.points[0] + [1.5, 0, 0]))
    assert book.requestSketches()[0].points()[0, 0] == pytest.approx(drawn.points[0, 0] + 1.5)


def test_deleted_points_are_taken_over_and_without_points_the_stroke_is_gone(book, slicer_app):
    book.add(stroke())
    node = book.node(book.strokes()[0].id)
    node.RemoveNthControlPoint(3)
    assert len(book.strokes()[0].points) == 39
    node.RemoveAllControlPoints()
    assert not book.strokes()
    assert not curves(slicer_app.scene)
    book.undo()
    assert len(book.strokes()[0].points) == 39


def test_a_curve_deleted_in_the_data_module_can_be_brought_back(book, changes, slicer_app):
    one, two = stroke(), stroke(CORONAL)
    book.add(one)
    book.add(two)
    slicer_app.scene.RemoveNode(book.node(one.id))
    assert [item.id for item in book.strokes()] == [two.id]
    assert changes[-1] == 1
    book.undo()
    assert [item.id for item in book.strokes()] == [one.id, two.id]
    assert len(curves(slicer_app.scene)) == 2


def test_a_folder_deleted_at_once_is_one_step(book, slicer_app):
    one, two = stroke(), stroke(CORONAL)
    book.add(one)
    book.add(two)
    slicer_app.scene.StartState(slicer_app.scene.BatchProcessState)
    for item in (one, two):
        slicer_app.scene.RemoveNode(book.node(item.id))
    slicer_app.scene.EndState(slicer_app.scene.BatchProcessState)
    assert not book.strokes()
    book.undo()
    assert len(book.strokes()) == 2


def test_a_copied_curve_is_another_stroke(book, slicer_app):
    book.add(stroke())
    original = book.node(book.strokes()[0].id)
    copy = slicer.vtkMRMLMarkupsClosedCurveNode()
    copy.Copy(original)
    slicer_app.scene.AddNode(copy)
    assert len({item.id for item in book.strokes()}) == 2
    book.undo()
    assert len(curves(slicer_app.scene)) == 1


def test_other_curves_are_left_alone(book, slicer_app):
    other = slicer_app.scene.AddNewNodeByClass("vtkMRMLMarkupsCurveNode", "a vessel")
    book.add(stroke())
    book.clear()
    assert curves(slicer_app.scene) == [other]


# Closing, saving, loading


def test_closing_the_scene_begins_anew(book, changes, slicer_app):
    book.add(stroke())
    slicer_app.scene.Clear(0)
    assert not book.strokes()
    assert (book.canUndo, book.canRedo) == (False, False)
    assert changes[-1] == 0
    book.add(stroke())
    assert len(curves(slicer_app.scene)) == 1


def test_a_saved_scene_brings_the_sketches_back(book, slicer_app, tmp_path):
    drawn = [stroke(), stroke(radius=7.0, turn=2.0), stroke(oblique(), structure="brainstem"), stroke(CORONAL, meaning="silhouette")]
    for item in drawn:
        book.add(item)
    book.removeStroke(drawn[1].id)
    book.undo()  # its node is younger than the others now
    book.setVisible(book.sketches()[1], False)
    assert slicer.util.saveScene(str(tmp_path / "sketches.mrb"))
    slicer_app.scene.Clear(0)
    slicer.util.loadScene(str(tmp_path / "sketches.mrb"))
    assert all(same(kept, given, 1e-6) for kept, given in zip(book.strokes(), drawn, strict=True))
    assert [entry.visible for entry in book.sketches()] == [True, False, True]
    assert (book.canUndo, book.canRedo) == (False, False)
    assert all(np.abs(item.distances(item.points)).max() < 1e-9 for item in book.strokes())
    book.add(stroke(CORONAL))
    book.undo()
    assert len(curves(slicer_app.scene)) == 4
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer_app.scene)
    assert hierarchy.GetNumberOfItemChildren(hierarchy.GetItemByName(FOLDER)) == 4


def test_a_scene_added_to_another_gives_both_their_sketches(book, slicer_app, tmp_path):
    book.add(stroke())
    slicer.util.saveScene(str(tmp_path / "one.mrb"))
    slicer.util.loadScene(str(tmp_path / "one.mrb"))
    assert len(book.strokes()) == 2
    assert len({item.id for item in book.strokes()}) == 2
    book.removeStroke(book.strokes()[0].id)
    assert len(curves(slicer_app.scene)) == 1


def test_a_damaged_node_is_not_read(slicer_app):
    first = SketchBook(slicer_app.scene)
    for plane in (AXIAL, CORONAL, oblique()):
        first.add(stroke(plane))
    first.cleanup()
    bad, unknown, _good = curves(slicer_app.scene)
    bad.SetAttribute("Sketch2CT.plane", "not a plane")
    unknown.SetAttribute("Sketch2CT.structure", "tail")
    second = SketchBook(slicer_app.scene)
    assert [entry.planeLabel for entry in second.sketches()] == ["oblique"]
    second.cleanup()


def test_after_cleanup_nothing_is_followed_and_the_nodes_stay(book, changes, slicer_app):
    book.add(stroke())
    (node,) = curves(slicer_app.scene)
    book.cleanup()
    node.SetNthControlPointPosition(0, 0.0, 0.0, 0.0)
    node.InvokeEvent(node.PointEndInteractionEvent)
    slicer_app.scene.RemoveNode(node)
    assert changes == [1]
