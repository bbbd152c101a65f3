"""Grids, planes and outlines, against what can be worked out by hand."""

import numpy as np
import pytest

from sketch2ct.geometry import (
    Grid,
    Plane,
    distance_to,
    inside,
    outlines,
    polyline_length,
    resample_polyline,
    signed_distance,
)

SQUARE = np.array([[0.0, 0], [10, 0], [10, 10], [0, 10]])


def circle(radius, centre=(0, 0), count=200):
    angle = np.linspace(0, 2 * np.pi, count)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1) + centre


@pytest.fixture
def oblique_grid():
    turn = np.radians(30)
    axes = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]]) * [2.0, 3.0, 4.0]
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = axes, [10, -20, 30]
    return Grid((5, 6, 7), affine)


def test_a_grid_centred_on_a_point_has_its_middle_there():
    grid = Grid.centred((1, 2, 3), (2, 2, 5), (4, 5, 6))
    assert np.allclose(grid.centre, (1, 2, 3))
    assert np.allclose(grid.to_ras((0, 0, 0)), (1 - 3, 2 - 4, 3 - 12.5))


def test_index_and_ras_are_inverse_on_an_oblique_grid(oblique_grid):
    index = np.array([[0, 0, 0], [4, 5, 6], [1.5, 2.25, 3.75]])
    assert np.allclose(oblique_grid.to_index(oblique_grid.to_ras(index)), index)
    assert np.allclose(oblique_grid.spacing, (2, 3, 4))
    assert oblique_grid.voxel_ml == pytest.approx(0.024)


def test_a_left_handed_grid_has_a_positive_voxel_volume():
    assert Grid((2, 2, 2), np.diag([-1.0, 2, 3, 1])).voxel_ml == pytest.approx(0.006)


def test_a_grid_contains_half_a_voxel_beyond_its_outer_centres(oblique_grid):
    border = oblique_grid.to_ras([[-0.49, 0, 0], [-0.51, 0, 0], [4.49, 5.49, 6.49], [4, 5, 6.51]])
    assert oblique_grid.contains(border).tolist() == [True, False, True, False]


def test_grids_match_within_a_hundredth_of_a_millimetre(oblique_grid):
    for shift, same in ((0.005, True), (0.05, False)):
        moved = oblique_grid.affine.copy()
        moved[0, 3] += shift
        assert oblique_grid.matches(Grid(oblique_grid.shape, moved)) is same


@pytest.mark.parametrize("bad", [np.zeros((4, 4)), np.full((4, 4), np.nan), np.eye(3)])
def test_a_grid_refuses_an_unusable_affine(bad):
    with pytest.raises(ValueError, match="affine"):
        Grid((2, 2, 2), bad)


@pytest.mark.parametrize(("orientation", "normal", "axis"), [("axial", 2, 2), ("coronal", 1, 1), ("sagittal", 0, 0)])
def test_named_planes_lie_across_their_axis(orientation, normal, axis):
    plane = Plane.named(orientation, (5, 6, 7))
    assert abs(plane.normal[normal]) == 1 and plane.axis == axis and plane.orientation == orientation


def test_the_axial_view_shows_the_patients_left_on_its_right_and_anterior_up():
    plane = Plane.named("axial", (0, 0, 0))
    assert np.allclose(plane.to_plane((-10, 0, 0)), (10, 0, 0))  # left is at negative R
    assert np.allclose(plane.to_plane((0, 10, 0)), (0, 10, 0))


def test_plane_coordinates_are_distances_in_mm():
    plane = Plane.named("coronal", (1, 2, 3))
    assert np.allclose(plane.to_ras(plane.to_plane((4, 5, 6))), (4, 5, 6))
    assert abs(plane.to_plane((9, 7, 1))[2]) == pytest.approx(5)


def test_a_plane_refuses_axes_that_are_not_orthonormal():
    with pytest.raises(ValueError, match="orthogonal"):
        Plane(np.diag([2.0, 1, 1, 1]))


def test_a_tilted_plane_is_oblique():
    matrix = np.eye(4)
    c, s = np.cos(0.2), np.sin(0.2)
    matrix[:3, :3] = [[1, 0, 0], [0, c, -s], [0, s, c]]
    assert Plane(matrix).orientation == "oblique" and Plane(matrix).axis == 2


def test_a_circle_encloses_its_area():
    at = np.stack(np.meshgrid(*[np.arange(-12, 12, 0.1)] * 2), axis=-1).reshape(-1, 2)
    assert inside([circle(10)], at).sum() * 0.01 == pytest.approx(np.pi * 100, rel=0.01)


def test_an_outline_within_another_is_a_hole_whatever_its_direction():
    at = np.array([[0.0, 0], [7, 0], [20, 0]])
    for inner in (circle(5), circle(5)[::-1]):
        assert inside([circle(10), inner], at).tolist() == [False, True, False]


def test_the_loop_of_a_self_crossing_stroke_stays_filled():
    twice = np.concatenate([circle(10), circle(10)])
    assert inside([twice], np.array([[0.0, 0]])).all()


def test_pieces_of_an_outline_are_chained_end_to_nearest_end():
    top, bottom = circle(10)[:95], circle(10)[105:]
    (chain,) = outlines([bottom, top])
    assert inside([chain], np.array([[0.0, 8], [0, -8], [0, 11]])).tolist() == [True, True, False]


def test_strokes_that_close_stay_separate_parts():
    assert len(outlines([circle(10), circle(5, (40, 0))])) == 2


def test_signed_distance_of_a_square_is_positive_inside():
    at = np.array([[5.0, 5], [1, 5], [-3, 5], [13, 14]])
    assert np.allclose(signed_distance([SQUARE], at), [5, 1, -3, -5])


def test_distance_to_a_segment_ends_at_its_ends():
    line = np.array([[0.0, 0], [10, 0]])
    assert np.allclose(distance_to([line], np.array([[5.0, 3], [13, 4], [-3, -4]])), [3, 5, 5])


def test_resampling_keeps_ends_and_length():
    line = np.array([[0.0, 0], [3, 4], [3, 10]])
    points = resample_polyline(line, 0.5)
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    assert np.allclose(points[[0, -1]], line[[0, -1]]) and len(points) == 23
    assert polyline_length(line) == pytest.approx(11) and steps.max() <= 0.5 + 1e-9
