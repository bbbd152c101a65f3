"""Measures between masks against values known by construction."""

import numpy as np
import pytest

from sketch2ct.evaluation import metrics
from sketch2ct.geometry import Grid, Plane
from sketch2ct.request import Sketch

GRID = Grid.centred((0, 0, 0), (2, 2, 3), (40, 40, 30))
RAS = GRID.voxel_centres()
BALL = (RAS**2).sum(-1) < 25**2


def box(low, high, shape=(20, 20, 20)):
    mask = np.zeros(shape, bool)
    mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = True
    return mask


def circle(radius, plane):
    angle = np.linspace(0, 2 * np.pi, 60)
    uv = radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return Sketch("brainstem", plane, [plane.to_ras(uv)])


def test_dice_is_twice_the_overlap_over_the_sum():
    a, b = box((0, 0, 0), (4, 4, 4)), box((2, 0, 0), (6, 4, 4))
    assert metrics.dice(a, b) == pytest.approx(0.5)
    assert metrics.dice(a, a) == 1
    assert metrics.dice(a, ~a) == 0
    assert metrics.dice(np.zeros_like(a), np.zeros_like(a)) == 1
    assert metrics.dice(a, np.zeros_like(a)) == 0


def test_surface_distance_is_in_mm_along_each_axis():
    a = box((2, 2, 2), (12, 12, 12))
    for axis, spacing in enumerate((1.0, 2.0, 3.0)):
        moved = np.roll(a, 2, axis=axis)
        assert metrics.hd95_mm(a, moved, (1, 2, 3)) == pytest.approx(2 * spacing)
    assert metrics.hd95_mm(a, a, (1, 2, 3)) == 0
    assert metrics.hd95_mm(box((0, 0, 0), (10, 20, 20)), box((0, 0, 0), (14, 20, 20)), (1, 1, 1)) == pytest.approx(4)


def test_surface_distance_to_nothing_is_undefined():
    assert np.isnan(metrics.hd95_mm(BALL, np.zeros_like(BALL), GRID.spacing))


def test_surface_dice_is_the_share_of_the_surfaces_within_three_mm():
    a = box((4, 4, 4), (24, 24, 24), (40, 40, 40))
    assert metrics.surface_dice(a, a, (1, 1, 1)) == 1
    assert metrics.surface_dice(a, np.roll(a, 3, axis=0), (1, 1, 1)) == 1
    # One slab in another, their faces 2 mm and 8 mm apart. Within 3 mm, of 76 mm wide faces and 10 and 20 mm high sides:
    slab, other = box((2, 2, 10), (78, 78, 20), (80, 80, 40)), box((2, 2, 8), (78, 78, 28), (80, 80, 40))
    near = 2 * 76**2 + (76**2 - 70**2) + 4 * 76 * (10 + 15)
    assert metrics.surface_dice(slab, other, (1, 1, 1)) == pytest.approx(near / (4 * 76**2 + 4 * 76 * 30), abs=0.02)
    near = 2 * (76**2 - 74**2) + 4 * 76 * (10 + 12)
    assert metrics.surface_dice(slab, other, (1, 1, 1), tolerance_mm=1) == pytest.approx(near / (4 * 76**2 + 4 * 76 * 30), abs=0.02)
    assert metrics.surface_dice(slab, other, (1, 1, 1), tolerance_mm=8) == 1


def test_surface_dice_is_in_mm_along_each_axis():
    a = box((4, 4, 4), (24, 24, 24), (40, 40, 40))
    moved = [metrics.surface_dice(a, np.roll(a, 2, axis=axis), (1, 1.5, 2.5)) for axis in range(3)]
    assert moved[:2] == [1, 1] and moved[2] < 0.85
    far = box((26, 26, 26), (36, 36, 36), (40, 40, 40))
    assert metrics.surface_dice(a, far, (3, 3, 3)) < 0.05
    nothing = np.zeros_like(a)
    assert metrics.surface_dice(a, nothing, (1, 1, 1)) == 0 and metrics.surface_dice(nothing, nothing, (1, 1, 1)) == 1
    whole = np.ones((10, 10, 10), bool)  # touches every end of its array
    assert metrics.surface_dice(whole, whole, (1, 1, 1)) == 1


def test_a_mask_is_moved_onto_the_centroid_of_another():
    truth = box((10, 4, 6), (14, 8, 10))
    assert (metrics.moved_onto(box((30, 1, 20), (34, 5, 24), (50, 9, 40)), truth) == truth).all()
    cut = metrics.moved_onto(box((0, 0, 0), (40, 4, 4), (40, 10, 10)), truth)
    assert cut.sum() == 20 * 4 * 4 and cut[:, 4:8, 6:10].all()
    assert not metrics.moved_onto(np.zeros((5, 5, 5), bool), truth).any()
    odd = box((10, 4, 6), (15, 9, 11))  # its centroid lies half a voxel from those of even boxes
    assert metrics.dice(metrics.moved_onto(box((2, 2, 2), (7, 7, 7)), odd), odd) == 1
    assert metrics.dice(metrics.moved_onto(BALL, np.roll(BALL, (3, -2, 1), (0, 1, 2))), np.roll(BALL, (3, -2, 1), (0, 1, 2))) == 1


@pytest.mark.parametrize("orientation", ["axial", "coronal", "sagittal"])
def test_a_ball_agrees_with_its_great_circle_on_every_plane(orientation):
    assert metrics.plane_dice(BALL, BALL, GRID, circle(25, Plane.named(orientation, (0, 0, 0))))[1] > 0.97


def test_plane_dice_sees_the_size_and_the_place_of_the_section():
    plane = Plane.named("axial", (0, 0, 0))
    assert metrics.plane_dice(BALL, BALL, GRID, circle(12.5, plane))[1] == pytest.approx(2 * 0.25 / 1.25, abs=0.02)
    assert metrics.plane_dice(BALL, BALL, GRID, circle(25, Plane.named("axial", (20, 0, 0))))[1] < 0.55
    assert metrics.plane_dice(BALL, BALL, GRID, circle(25, Plane.named("axial", (0, 0, 30))))[1] == 0
    assert metrics.plane_dice(np.zeros_like(BALL), BALL, GRID, circle(25, plane)) == (0, 0)


def test_plane_dice_leaves_out_what_the_grid_cannot_hold():
    half = Grid(GRID.shape, GRID.affine @ np.array([[1, 0, 0, 20], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]))
    mask = (half.voxel_centres() ** 2).sum(-1) < 25**2
    assert min(metrics.plane_dice(mask, mask, half, circle(25, Plane.named("axial", (0, 0, 0))))) > 0.96


def test_plane_dice_compares_with_the_real_section_not_with_the_drawing():
    plane = Plane.named("axial", (0, 0, 0))
    smaller = (GRID.voxel_centres() ** 2).sum(-1) < 15**2
    real, drawn = metrics.plane_dice(smaller, BALL, GRID, circle(15, plane))
    assert drawn > 0.95
    assert real == pytest.approx(2 * 15**2 / (15**2 + 25**2), abs=0.03)


def test_volume_error_is_relative_and_unsigned():
    assert metrics.volume_error(12, 10) == pytest.approx(0.2)
    assert metrics.volume_error(8, 10) == pytest.approx(0.2)


def test_pieces_and_holes_are_counted():
    shell = box((2, 2, 2), (8, 8, 8)) & ~box((4, 4, 4), (6, 6, 6))
    assert metrics.hole_voxels(shell) == 8
    assert metrics.components(shell) == 1
    assert metrics.components(shell | box((8, 8, 8), (9, 9, 9))) == 1
    assert metrics.components(shell | box((10, 10, 10), (12, 12, 12))) == 2


def test_the_summary_covers_the_mean_and_repeats():
    values = np.random.default_rng(1).normal(0.7, 0.1, 50)
    found = metrics.summary(values)
    assert found == metrics.summary(values)
    assert found["n"] == 50 and found["mean"] == pytest.approx(values.mean(), abs=1e-4)
    low, high = found["ci95"]
    standard_error = values.std() / np.sqrt(50)
    assert low == pytest.approx(values.mean() - 1.96 * standard_error, abs=0.01)
    assert high == pytest.approx(values.mean() + 1.96 * standard_error, abs=0.01)


def test_the_summary_says_what_was_undefined():
    assert metrics.summary([1.0, float("nan"), 3.0])["undefined"] == 1
    assert metrics.summary([1.0, float("nan"), 3.0])["mean"] == 2
    assert metrics.summary([]) == {"mean": None, "ci95": [None, None], "n": 0}


def test_values_by_patient_and_structure_make_a_table():
    table = metrics.table({("a", "brainstem"): 1.0, ("b", "mandible"): 2.0}, ["brainstem", "mandible"])
    np.testing.assert_array_equal(table, [[1, np.nan], [np.nan, 2]])
    assert metrics.table({}, ["brainstem"]).shape == (0, 1)


def test_the_mean_of_means_weighs_structures_not_patients():
    table = np.array([[1.0, 0.0], [1.0, np.nan], [1.0, np.nan], [np.nan, np.nan]])
    found = metrics.mean_of_means(table)
    assert found["mean"] == 0.5 and found["n"] == 3
    assert metrics.mean_of_means(np.full((2, 2), np.nan))["n"] == 0
