"""The way from one anatomy to another: what is near a structure goes with it, and what is far with all of them."""

from __future__ import annotations

import numpy as np
import pytest

from regions import CLASSES, FRAME, STRUCTURES, anatomy, law
from sketch2ct.geometry import Grid
from sketch2ct.masks.region_classes import UNKNOWN
from sketch2ct.masks.region_shapes import PLACE
from sketch2ct.masks.region_warp import Way

RIGHT, LEFT, LARYNX = STRUCTURES


def at(way, point):
    """Where a point goes."""
    return np.asarray(point) + way.moves(Grid.centred(point, (1, 1, 1), (1, 1, 1)))[:, 0, 0, 0]


def usual():
    return law().drawn(FRAME, {}, None, np.random.default_rng(0), spread=0.0, rounds=0)


def test_the_usual_anatomy_stays_where_it_is():
    assert np.abs(law().way(usual(), FRAME).moves(FRAME)).max() < 0.1


def test_what_is_beside_a_structure_goes_with_it_and_the_others_stay():
    codes = usual()
    middle = codes[RIGHT][:PLACE].copy()
    codes[RIGHT][:PLACE] += (0.0, 12.0, 0.0)
    way = law().way(codes, FRAME)
    assert at(way, np.add(middle, (0, 24, 0))) == pytest.approx(np.add(middle, (0, 12, 0)), abs=2.5)
    far = codes[LARYNX][:PLACE]
    assert at(way, far) == pytest.approx(far, abs=2.0)


def test_there_and_back_is_where_it_began():
    codes = law().drawn(FRAME, {}, None, np.random.default_rng(3), rounds=0)
    way = law().way(codes, FRAME)
    for point in ((0.0, 0, 0), (30.0, 10, 20), (-40.0, -20, -30)):
        assert at(way.back(), at(way, point)) == pytest.approx(point, abs=1.5)


def test_far_from_every_landmark_all_go_as_the_landmarks_do_in_the_mean():
    here = np.random.default_rng(0).uniform(-20, 20, (12, 3))
    assert at(Way(here, np.add(here, (5, -3, 2))), (400.0, 400, 400)) == pytest.approx((405, 397, 402), abs=0.1)


def test_a_class_map_is_carried_and_what_comes_from_beyond_it_is_not_known():
    labels, corners = anatomy(), np.array([(x, y, z) for x in (-40, 40) for y in (-40, 40) for z in (-40, 40)], float)
    moved = Way(corners, np.add(corners, (16, 0, 0))).carried(labels, FRAME)
    found = moved == CLASSES.index(LARYNX)
    assert found.sum() == (labels == CLASSES.index(LARYNX)).sum()
    away = FRAME.to_ras(np.argwhere(found)).mean(axis=0) - FRAME.to_ras(np.argwhere(labels == CLASSES.index(LARYNX))).mean(axis=0)
    assert away == pytest.approx([-16, 0, 0], abs=0.1)
    assert (moved[-1] == UNKNOWN).all()
