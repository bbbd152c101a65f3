"""After a run the views show it: at the sketch, its plane kept, everything in sight, one sample at a time."""

from __future__ import annotations

import numpy as np
import pytest
import slicer

from headless_slicer.views import LAYOUT, SliceView, open_layout
from result_folders import sketch, turned_grid, two_blocks, write_result
from sketch2ct.geometry import Plane
from sketch2ct.request import Sketch
from Sketch2CTModuleLib.ResultLoader import ResultLoader
from Sketch2CTModuleLib.SampleSwitcher import SampleSwitcher
from Sketch2CTModuleLib.ViewFitter import ViewFitter


@pytest.fixture
def views(slicer_app):
    return open_layout(slicer_app.scene, slicer_app.app_logic, (400, 300))


@pytest.fixture
def run(slicer_app, views, tmp_path):
    grid = turned_grid()
    folders = [write_result(tmp_path / str(n), grid, two_blocks(grid), seed=n) for n in range(3)]
    return ResultLoader(slicer_app.scene).load(folders)


def distance_to(view: SliceView, points: np.ndarray) -> float:
    """Of the farthest point from the view's plane, mm."""
    return float(np.abs((points - view.plane()[:3, 3]) @ view.plane()[:3, 2]).max())


def in_sight(view: SliceView, points: np.ndarray) -> bool:
    return all(0 <= row < 300 and 0 <= column < 400 for row, column in map(view.to_pixel, points))


def test_all_slice_views_go_to_the_sketch_with_the_structures_in_sight(views, run):
    drawn = sketch(turned_grid())
    ViewFitter().fit([drawn], run.samples[0].segmentation, run.samples[0].volume)
    middle = (drawn.points().min(axis=0) + drawn.points().max(axis=0)) / 2
    structures = turned_grid().to_ras(np.argwhere(two_blocks(turned_grid()) > 0))
    for name, view in views.items():
        assert distance_to(view, middle[None]) < 1e-6
        assert np.allclose(view.plane()[:3, :3], slicer.util.arrayFromVTKMatrix(view.node.GetSliceOrientationPreset(LAYOUT[name]))[:3, :3])
        assert view.to_pixel(middle) == (pytest.approx(149.5, abs=1), pytest.approx(200, abs=1))
        width, height = view.node.GetFieldOfView()[:2]
        assert width / height == pytest.approx(400 / 300)
    assert in_sight(views["Red"], structures[two_blocks(turned_grid())[two_blocks(turned_grid()) > 0] == 7])
    assert distance_to(views["Red"], drawn.points()) < 1e-3


def test_an_oblique_sketch_keeps_its_plane_in_the_view_that_faces_it(views, run):
    axial, tilted = sketch(turned_grid()), sketch(turned_grid(), "parotid_gland_left", turn=1.2)
    ViewFitter().fit([axial, tilted], run.samples[0].segmentation, run.samples[0].volume)
    assert distance_to(views["Red"], axial.points()) < 1e-3
    assert distance_to(views["Green"], tilted.points()) < 1e-3
    assert abs(views["Green"].plane()[:3, 2] @ tilted.plane.normal) == pytest.approx(1)
    assert (np.diag(views["Green"].plane()[:3, :3].T @ Plane.named("coronal", (0, 0, 0)).matrix[:3, :3]) > 0.3).all()


def test_without_a_sketch_the_views_go_to_the_structures(views, run):
    ViewFitter().fit([], run.samples[0].segmentation, run.samples[0].volume)
    points = turned_grid().to_ras(np.argwhere(two_blocks(turned_grid()) > 0))
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    for view in views.values():
        assert np.allclose(view.plane()[:3, 3], middle, atol=1.5)
        assert in_sight(view, points)


def test_an_empty_mask_falls_back_to_the_sketch_and_nothing_at_all_changes_nothing(slicer_app, views):
    empty = slicer_app.scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    before = [view.plane() for view in views.values()]
    ViewFitter().fit([], empty, None)
    assert all(np.array_equal(view.plane(), plane) for view, plane in zip(views.values(), before, strict=True))
    drawn = sketch(turned_grid())
    ViewFitter().fit([drawn], empty, None)
    assert in_sight(views["Red"], drawn.points())


def test_jumping_shows_exactly_the_plane_and_keeps_the_magnification(views):
    plane = Plane.named("coronal", (12.0, -34.5, 6.0)).matrix.copy()
    c, s = np.cos(0.3), np.sin(0.3)
    plane[:3, :3] = np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ plane[:3, :3]
    before = views["Green"].node.GetFieldOfView()
    centre = Plane(plane).to_ras([5.0, 7.0])
    node = ViewFitter().jumpTo(plane, centre)
    assert node is views["Green"].node
    assert np.abs(views["Green"].plane()[:3, :3] - plane[:3, :3]).max() < 1e-9
    assert np.abs(views["Green"].plane()[:3, 3] - centre).max() < 1e-9
    assert views["Green"].node.GetFieldOfView() == before
    assert views["Green"].to_pixel(centre) == (pytest.approx(149.5, abs=1), pytest.approx(200, abs=1))


def test_jumping_to_a_plane_that_is_seen_from_behind_keeps_the_patients_sides(views):
    mirrored = np.diag([1.0, 1.0, -1.0, 1.0])
    mirrored[:3, 3] = [0, 0, 25]
    assert ViewFitter().jumpTo(mirrored, [3, 4, 5]) is views["Red"].node
    assert np.allclose(views["Red"].plane(), [[-1, 0, 0, 3], [0, 1, 0, 4], [0, 0, 1, 25], [0, 0, 0, 1]])


def test_the_pan_of_a_view_does_not_move_the_centre(views, run):
    views["Red"].node.SetXYZOrigin(37, -20, 0)
    drawn = sketch(turned_grid())
    ViewFitter().fit([drawn], run.samples[0].segmentation, run.samples[0].volume)
    middle = (drawn.points().min(axis=0) + drawn.points().max(axis=0)) / 2
    assert views["Red"].to_pixel(middle) == (pytest.approx(149.5, abs=1), pytest.approx(200, abs=1))


def test_views_that_the_layout_does_not_show_are_left_alone(views, run):
    views["Green"].node.SetMappedInLayout(False)
    before = views["Green"].plane()
    ViewFitter().fit([sketch(turned_grid())], run.samples[0].segmentation, run.samples[0].volume)
    assert np.array_equal(views["Green"].plane(), before)


def test_the_camera_keeps_its_direction_and_sees_all_structures(slicer_app, views, run):
    camera = slicer_app.scene.AddNewNodeByClass("vtkMRMLCameraNode")
    camera.SetPosition(0, 500, 0)
    camera.SetFocalPoint(0, 0, 0)
    camera.SetViewUp(0, 0, 1)
    ViewFitter().fit([sketch(turned_grid())], run.samples[0].segmentation, run.samples[0].volume)
    eye, focus = np.array(camera.GetPosition()), np.array(camera.GetFocalPoint())
    forward = (focus - eye) / np.linalg.norm(focus - eye)
    assert np.allclose(forward, [0, -1, 0])
    points = turned_grid().to_ras(np.argwhere(two_blocks(turned_grid()) > 0))
    seen = (points - eye) / np.linalg.norm(points - eye, axis=1, keepdims=True)
    assert np.degrees(np.arccos(seen @ forward)).max() < camera.GetViewAngle() / 2


def test_a_whole_volume_fits_into_every_view(slicer_app, views):
    volume = slicer.util.addVolumeFromArray(np.zeros((24, 36, 40)), ijkToRAS=turned_grid().affine)
    ViewFitter().fitWhole(volume)
    for view in views.values():
        assert in_sight(view, turned_grid().corners())
    ViewFitter().sliceThrough([-300, -270, 230])
    assert views["Red"].plane()[2, 3] == pytest.approx(230)
    assert views["Yellow"].plane()[0, 3] == pytest.approx(-300)


def shown(views, run) -> tuple[set, list[int]]:
    backgrounds = {view.composite.GetBackgroundVolumeID() for view in views.values()}
    return backgrounds, [sample.segmentation.GetDisplayNode().GetVisibility() for sample in run.samples]


def test_one_sample_is_shown_at_a_time(views, run):
    switcher = SampleSwitcher(run)
    assert switcher.count == 3
    switcher.show(0)
    assert shown(views, run) == ({run.samples[0].volume.GetID()}, [1, 0, 0])
    switcher.next()
    assert shown(views, run) == ({run.samples[1].volume.GetID()}, [0, 1, 0])
    switcher.previous()
    switcher.previous()
    assert (switcher.index, shown(views, run)) == (2, ({run.samples[2].volume.GetID()}, [0, 0, 1]))
    switcher.next()
    assert switcher.index == 0
    switcher.show(99)
    assert switcher.index == 2


def test_the_segmentations_of_other_runs_are_hidden_and_the_users_own_are_not(slicer_app, views, run, tmp_path):
    own = slicer_app.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Mine")
    own.CreateDefaultDisplayNodes()
    later = ResultLoader(slicer_app.scene).load([tmp_path / "0"])
    SampleSwitcher(later).show(0)
    assert shown(views, run)[1] == [0, 0, 0]
    assert later.samples[0].segmentation.GetDisplayNode().GetVisibility()
    assert own.GetDisplayNode().GetVisibility()


def test_a_mask_without_a_ct_leaves_the_background(slicer_app, views, run, tmp_path):
    SampleSwitcher(run).show(1)
    grid = turned_grid()
    mask = ResultLoader(slicer_app.scene).load([write_result(tmp_path / "mask", grid, two_blocks(grid), ct=False)])
    SampleSwitcher(mask).show(0)
    assert shown(views, run) == ({run.samples[1].volume.GetID()}, [0, 0, 0])


def test_nodes_that_the_user_deleted_are_passed_over(slicer_app, views, run):
    slicer_app.scene.RemoveNode(run.samples[1].volume)
    slicer_app.scene.RemoveNode(run.samples[2].segmentation)
    switcher = SampleSwitcher(run)
    for number in range(3):
        switcher.show(number)
    assert {view.composite.GetBackgroundVolumeID() for view in views.values()} == {run.samples[2].volume.GetID()}


def test_the_selected_volume_of_the_application_is_not_changed(slicer_app, views, run):
    before = slicer_app.app_logic.GetSelectionNode().GetActiveVolumeID()
    SampleSwitcher(run).show(1)
    ViewFitter().fit([Sketch("mandible", sketch(turned_grid()).plane, sketch(turned_grid()).strokes)], run.samples[1].segmentation)
    assert slicer_app.app_logic.GetSelectionNode().GetActiveVolumeID() == before
