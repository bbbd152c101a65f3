"""Class maps, where uncontoured structures may hide, and the spatial prior: by hand, on maps of a few voxels."""

from __future__ import annotations

import numpy as np
import pytest

from regions import CLASSES, FRAME, PLACEMENT, STRUCTURES, anatomy
from sketch2ct.data.regions import Region, build_region, load_regions, save_region
from sketch2ct.data.scans import Scan
from sketch2ct.describe import measure
from sketch2ct.geometry import Grid
from sketch2ct.imaging import LabelVolume
from sketch2ct.masks.region_classes import UNKNOWN, RegionClasses
from sketch2ct.masks.region_prior import Hiding, RegionPrior, build, coarse_grid, origin
from sketch2ct.masks.region_warp import Way

RIGHT, LEFT, LARYNX = STRUCTURES
ROW = Grid.centred((0, 0, 0), (4, 4, 4), (8, 8, 8))
SMALL = RegionClasses(("body", "bone", "air"), ("larynx",))
CORNERS = np.array([(x, y, z) for x in (-8, 8) for y in (-8, 8) for z in (-8, 8)], float)
BODY, AIR, SAID = SMALL.index("body"), SMALL.index("air"), SMALL.index("larynx")


def bits(*classes):
    return sum(1 << c for c in classes)


def a_row(*values):
    """A map whose first voxels along i, at j = k = 4, have these classes, in a body."""
    labels = np.full(ROW.shape, BODY, np.uint8)
    labels[: len(values), 4, 4] = values
    return labels


def a_region(labels, grid=FRAME, contoured=STRUCTURES, case="one"):
    facts = {name: measure(labels == CLASSES.index(name), grid.affine) for name in contoured}
    return Region(case, labels, grid, tuple(contoured), facts, np.zeros((3, 4), np.int64))


def test_structures_win_over_bone_bone_over_air_and_air_over_body():
    masks = {"body": np.ones((4, 1, 1), bool), "air": np.zeros((4, 1, 1), bool), "bone": np.zeros((4, 1, 1), bool)}
    masks["larynx"] = np.zeros((4, 1, 1), bool)
    masks["air"][1:], masks["bone"][2:], masks["larynx"][3:] = True, True, True
    assert [SMALL.names[n] for n in SMALL.labels(masks).ravel()] == ["body", "air", "bone", "larynx"]


def test_what_was_not_contoured_may_hide_in_its_tissue_where_it_is_ever_seen():
    """Larynx is made of body and air, never of bone, and was seen at i = 2. Another case has no larynx contour."""
    seen = a_row(BODY, BODY, SAID, AIR)
    under = np.array([[0, 60, 1, 39]])  # outside, body, bone, air
    hiding = Hiding.fit(lambda: iter([(seen, ("larynx",))]), under, ROW, SMALL)
    assert hiding.under.tolist() == [[False, True, False, True]]
    other = a_row(BODY, AIR, SMALL.index("bone"), BODY, BODY, UNKNOWN)
    may = hiding.may(other, (), SMALL)[:, 4, 4]
    anything = bits(0, 1, 2, 3, SAID)
    expected = [bits(BODY, SAID), bits(AIR, SAID), bits(2), bits(BODY, SAID), bits(BODY, SAID), anything, bits(BODY), bits(BODY)]
    assert may.tolist() == expected  # 8 mm around it are two voxels
    contoured = hiding.may(other, ("larynx",), SMALL)[:, 4, 4]
    assert contoured.tolist() == [bits(BODY), bits(AIR), bits(2), bits(BODY), bits(BODY), bits(0, 1, 2, 3), bits(BODY), bits(BODY)]


def test_the_prior_is_not_thinned_by_cases_without_a_contour():
    """One of two contoured cases has a larynx at i = 2, a third was not contoured: half of the voxels there are larynx, not a third."""
    cases = [(a_row(BODY, BODY, SAID), ("larynx",)), (a_row(BODY), ("larynx",)), (a_row(BODY), ())]
    hiding = Hiding.fit(lambda: iter(cases), np.array([[0, 1, 0, 0]]), ROW, SMALL)
    found = build(lambda: iter(cases), hiding, SMALL, ROW, {}, coarse=1, smooth_mm=0.01)
    assert found.values[SAID, 2, 4, 4] == pytest.approx(0.5, abs=1e-3)
    assert found.values[BODY, 2, 4, 4] == pytest.approx(0.5, abs=1e-3)
    assert found.values[BODY, 6, 1, 1] == pytest.approx(1.0, abs=1e-3)
    assert found.values.sum(axis=0) == pytest.approx(np.ones(ROW.shape), abs=1e-5)


def test_beyond_what_any_case_shows_the_prior_goes_on():
    labels = np.full(ROW.shape, BODY, np.uint8)
    labels[:, :2] = 0
    labels[:, :, 5:] = UNKNOWN
    found = build(
        lambda: iter([(labels, ())]), Hiding.fit(lambda: iter([]), np.zeros((1, 4)), ROW, SMALL), SMALL, ROW, {}, coarse=1, smooth_mm=0.01
    )
    assert (found.values.argmax(0)[:, :2] == 0).all() and (found.values.argmax(0)[:, 2:] == BODY).all()


def test_the_coarse_prior_is_spread_over_the_frame_at_its_place():
    frame = Grid.centred((0, 0, 0), (2, 2, 2), (8, 8, 8))
    values = np.zeros((2, 4, 4, 4), np.float32)
    values[1, 1], values[0] = 1.0, 1.0
    values[0, 1] = 0.0
    log = RegionPrior(values, coarse_grid(frame, 2), {}, frame).log
    assert log.shape == (2, 8, 8, 8) and (log[1, 2:4] > np.log(0.7)).all() and (log[1, 6:] < np.log(1e-3)).all()
    assert np.exp(log).sum(axis=0) == pytest.approx(np.ones((8, 8, 8)), abs=1e-5)
    with pytest.raises(ValueError, match="coarser"):
        coarse_grid(frame, 3)


def test_where_some_classes_are_known_the_others_share_what_is_left():
    frame = Grid.centred((0, 0, 0), (2, 2, 2), (8, 8, 8))
    values = np.stack([np.full((4, 4, 4), share, np.float32) for share in (0.5, 0.3, 0.1, 0.1)])
    known = RegionPrior(values, coarse_grid(frame, 2), {}, frame)
    here, there = (slice(0, 4), slice(0, 8), slice(0, 8)), (slice(2, 6), slice(0, 8), slice(0, 8))
    shares = {2: (here, np.full((4, 8, 8), 0.9, np.float32)), 3: (there, np.full((4, 8, 8), 0.5, np.float32))}
    chance = np.exp(known.around(shares, Way(CORNERS, CORNERS)))
    assert chance.sum(axis=0) == pytest.approx(np.ones((8, 8, 8)), abs=1e-3)
    # alone: as it was said; where both may be: one, the other or neither, but never both: .9 * .5, .1 * .5, .1 * .5
    assert chance[2, 0] == pytest.approx(np.full((8, 8), 0.9), abs=1e-3) and chance[2, 2] == pytest.approx(
        np.full((8, 8), 9 / 11), abs=1e-3
    )
    assert chance[3, 2] == pytest.approx(np.full((8, 8), 1 / 11), abs=1e-3) and (chance[2:, 7] < 2e-4).all()
    assert chance[0] / chance[1] == pytest.approx(np.full((8, 8, 8), 5 / 3), rel=1e-2)


def test_in_another_anatomy_the_others_lie_where_they_go_with_it():
    frame = Grid.centred((0, 0, 0), (2, 2, 2), (16, 16, 16))
    values = np.full((2, 8, 8, 8), 1e-3, np.float32)
    values[1, 3:5], values[0] = 1.0, 1 - 1e-3
    values[0, 3:5] = 1e-3
    known = RegionPrior(values, coarse_grid(frame, 2), {}, frame)
    moved = known.around({}, Way(np.add(CORNERS, (4, 0, 0)), CORNERS))
    here, there = (frame.to_ras(np.argwhere(log.argmax(axis=0) == 1)).mean(axis=0) for log in (known.log, moved))
    assert here == pytest.approx([0, 0, 0], abs=0.1) and there == pytest.approx([4, 0, 0], abs=0.3)


def test_the_frame_is_laid_by_the_mean_way_of_what_is_known():
    middles = {RIGHT: np.array([42.0, 10, 16]), LARYNX: np.array([10.0, 10, -24])}
    assert origin(middles, PLACEMENT) == pytest.approx([10, 6, 0])
    assert origin({"brainstem": np.zeros(3)}, PLACEMENT) is None


def test_given_classes_are_those_that_fill_most_of_a_voxel():
    fine = Grid.centred((0, 0, 0), (2, 2, 2), (64, 64, 64))
    array = np.where(anatomy(fine) == CLASSES.index(LARYNX), 9, 0).astype(np.uint8)
    given = CLASSES.given(LabelVolume(array, fine, {9: LARYNX}), FRAME)
    assert set(np.unique(given)) == {CLASSES.index(LARYNX), UNKNOWN}
    volume = (given != UNKNOWN).sum() * FRAME.voxel_ml
    assert volume == pytest.approx((array > 0).sum() * fine.voxel_ml, rel=0.1)
    truth = anatomy() == CLASSES.index(LARYNX)
    assert (truth & (given != UNKNOWN)).sum() / (truth | (given != UNKNOWN)).sum() > 0.6


def test_a_mirrored_region_is_the_mirror_image_with_its_names_swapped():
    labels = anatomy(FRAME, 1.0, (8.0, 0.0, 0.0))
    labels[labels == CLASSES.index(LEFT)] = CLASSES.index("body")
    region = a_region(labels, contoured=(RIGHT, LARYNX))
    turned = region.mirrored(CLASSES)
    assert set(turned.contoured) == {LEFT, LARYNX}
    assert (turned.labels == CLASSES.index(LEFT)).sum() == (labels == CLASSES.index(RIGHT)).sum() > 0
    for name in turned.contoured:
        index = np.argwhere(turned.labels == CLASSES.index(name))
        assert turned.middles[name] == pytest.approx(FRAME.to_ras(index.mean(axis=0)))
    again = turned.mirrored(CLASSES)
    assert np.array_equal(again.labels, labels) and again.middles[RIGHT] == pytest.approx(region.middles[RIGHT])


def test_on_a_frame_a_region_keeps_its_place_and_what_lies_beyond_is_told_apart():
    labels = anatomy()
    labels[:, :, :3] = UNKNOWN
    larger = Grid.centred((16, -8, 24), (8, 8, 8), (24, 20, 20))
    laid = a_region(labels).on(larger)
    for name in STRUCTURES:
        index = np.argwhere(laid == CLASSES.index(name))
        assert larger.to_ras(index.mean(axis=0)) == pytest.approx(a_region(labels).middles[name], abs=1e-6)
    z = larger.to_ras(np.array([[0, 0, k] for k in range(20)]))[:, 2]
    assert (laid[:, :, z > 60] == UNKNOWN).all()  # above the scan
    assert (laid[0, 0, (z > -30) & (z < 60)] == 0).all()  # beside it
    assert (laid[0, 0, z < -40] == UNKNOWN).all()  # beside what was not stored


def test_a_scan_becomes_a_class_map_and_its_unusable_contours_say_nothing(tmp_path):
    fine = Grid.centred((0, 0, 0), (4, 4, 4), (32, 32, 32))
    truth = anatomy(fine)
    names = (*STRUCTURES, *CLASSES.derived)
    shares = np.stack([(truth == CLASSES.index(n)) * np.uint8(255) for n in names])
    shares[names.index("body")][truth > 0] = 255
    crumbs = np.zeros(fine.shape, bool)
    crumbs[4:28:6, 4:28:6, 4:28:6] = True  # many pieces far from each other: no larynx
    shares[names.index(LARYNX)] = crumbs * np.uint8(255)
    known = np.ones(fine.shape, bool)
    known[:, :, :2] = False
    labelled = np.array([True, False, True, True, True, True])
    scan = Scan("one", np.zeros(fine.shape, np.int16), shares, labelled, known, fine)
    region = build_region(scan, CLASSES)
    assert region.contoured == (RIGHT,)
    assert np.array_equal(region.labels == CLASSES.index(RIGHT), truth == CLASSES.index(RIGHT))
    assert (region.labels[truth == CLASSES.index(LEFT)] == CLASSES.index("body")).all()
    assert (region.labels[:, :, :2] == UNKNOWN).all() and not (region.labels[:, :, 2:] == UNKNOWN).any()
    assert region.under[0].tolist() == [0, (truth == CLASSES.index(RIGHT)).sum(), 0, 0]
    save_region(tmp_path, region)
    (again,) = load_regions(tmp_path)
    assert np.array_equal(again.labels, region.labels) and again.facts == region.facts and again.grid.matches(fine, 1e-9)
