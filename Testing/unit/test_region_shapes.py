"""Codes of structures: a pose and a few weights that give the shape back."""

import numpy as np
import pytest

from regions import ball
from sketch2ct.geometry import Grid
from sketch2ct.masks.region_shapes import PLACE, Shape, pose_of, signed_distance

GRID = Grid.centred((0, 0, 0), (4, 4, 3), (40, 40, 50))


def cord(rng):
    """A tube of 6 mm that bends by up to 3 cm, at heights of its own."""
    low, high = rng.uniform(-60, -45), rng.uniform(45, 60)
    x, y, z = np.moveaxis(GRID.voxel_centres(), -1, 0)
    bend, lean = rng.uniform(-30, 30), rng.uniform(-15, 15)
    return (np.hypot(x - lean * z / 60, y - bend * (z / 60) ** 2) <= rng.uniform(6, 8)) & (z >= low) & (z <= high)


def horseshoe(rng):
    """An arch that opens backwards and whose ends rise: in the upper slices its middle lies far behind."""
    x, y, z = np.moveaxis(GRID.voxel_centres(), -1, 0)
    radius, rise = rng.uniform(35, 45), rng.uniform(25, 40)
    arch = (np.abs(np.hypot(x, y) - radius) <= 7) & (y > -10) & (np.abs(z) <= 10)
    return arch | ((np.abs(np.abs(x) - radius) <= 7) & (np.abs(y + 5) <= 9) & (z > -10) & (z <= rise))


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.mark.parametrize(("kind", "degree", "least"), [(cord, 4, 0.85), (horseshoe, 0, 0.8)])
def test_unseen_shapes_come_back_from_their_code(kind, degree, least):
    rng = np.random.default_rng(0)
    shape = Shape.fit([(kind(rng), GRID) for _ in range(40)], modes=12)
    assert shape.degree == degree and 0 < shape.rest < 2.5
    for _ in range(5):
        mask = kind(rng)
        code = shape.code(mask, GRID)
        assert code.shape == (shape.length,)
        part, distance = shape.distance(code, GRID)
        found = np.zeros(GRID.shape, bool)
        found[part] = distance > 0
        assert dice(found, mask) > least
        true = signed_distance(mask, GRID.spacing)[part]
        assert np.abs(distance - true)[np.abs(true) < 4].mean() < 2  # mm


def test_a_code_moves_and_grows_with_its_structure():
    rng = np.random.default_rng(1)
    balls = [ball(GRID, rng.normal(0, 4, 3), rng.uniform(14, 22) * rng.uniform(0.9, 1.1, 3)) for _ in range(20)]
    shape = Shape.fit([(mask, GRID) for mask in balls], modes=4)
    code = shape.code(ball(GRID, (4, -8, 6), 18), GRID)
    assert code[:PLACE] == pytest.approx([4, -8, 6], abs=0.3)
    code[:PLACE] += (8, 0, -6)
    code[PLACE : PLACE + 3] += np.log(1.2)
    part, distance = shape.distance(code, GRID)
    found = np.zeros(GRID.shape, bool)
    found[part] = distance > 0
    assert dice(found, ball(GRID, (12, -8, 0), 18 * 1.2)) > 0.93


def test_a_shape_beyond_the_grid_is_cut_there():
    shape = Shape.fit([(ball(GRID, (0, 0, 0), r), GRID) for r in (14, 16, 18, 20)], modes=2)
    code = shape.code(ball(GRID, (0, 0, 0), 16), GRID)
    code[0] = 78.0
    part, distance = shape.distance(code, GRID)
    assert distance.shape == tuple(p.stop - p.start for p in part) and (distance > 0).any()
    code[0] = 500.0
    assert shape.distance(code, GRID)[1].size == 0


def test_an_empty_mask_has_no_pose():
    with pytest.raises(ValueError, match="empty"):
        pose_of(np.zeros(GRID.shape, bool), GRID, 4)
