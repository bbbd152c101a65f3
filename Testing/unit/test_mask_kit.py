"""Plausibility and nearest neighbours of masks against answers known by construction."""

import numpy as np
import pytest

from sketch2ct import describe
from sketch2ct.data.nnunet import Dataset
from sketch2ct.evaluation import case, neighbours, plausibility
from sketch2ct.evaluation.training_masks import TrainingMask, centroid, training_masks
from sketch2ct.geometry import Grid, Plane
from sketch2ct.sketching import crop

GRID = Grid.centred((0, 0, 0), (2, 2, 2.5), (70, 60, 60))
RADII = np.array([16.0, 11.0, 24.0])


def ellipsoid(radii=RADII, centre=(0, 0, 0), grid=GRID):
    return ((((grid.voxel_centres() - centre) / radii) ** 2).sum(-1)) <= 1


def training_mask(number, structure, radii, centre, components=1):
    small, grid = crop(ellipsoid(radii, centre), GRID, 1)
    return TrainingMask(f"case_{number:02d}", structure, small, grid, components)


@pytest.fixture(scope="module")
def known():
    """25 cases: brainstems of several sizes, 30 mm behind and 10 mm above their mandibles, give or take 4 mm."""
    rng, masks = np.random.default_rng(0), []
    for number in range(25):
        size, shift = rng.uniform(0.8, 1.2), rng.uniform(-4, 4, 3)
        masks.append(training_mask(number, "brainstem", RADII * size * rng.uniform(0.9, 1.1, 3), shift + np.array([0, -15, 5])))
        masks.append(training_mask(number, "mandible", np.array([24, 12, 9]) * size, (0, 15, -5), components=1 + number % 2))
    return masks


@pytest.fixture(scope="module")
def ranges(known):
    return describe.Ranges.fit([describe.measure(k.mask, k.grid.affine) for k in known if k.structure == "brainstem"])


def question(mask, structure="brainstem", grid=GRID, ranges=None):
    ranges = ranges or describe.Ranges.fit([describe.measure(mask, grid.affine)])
    return case.ask("case_99", structure, mask, grid, ranges, 0)


def test_a_usual_mask_is_plausible_and_a_displaced_huge_or_broken_one_is_not(known, ranges):
    usual = plausibility.Usual.fit(known)
    plane, others = Plane.named("coronal", (0, -15, 5)), {"mandible": np.array([0.0, 15, -5]), "brainstem": np.zeros(3)}

    def judge(mask):
        return plausibility.judge(mask, GRID, "brainstem", plane, others, ranges, usual)

    good = judge(ellipsoid(RADII, (0, -15, 5)))
    assert [good[key] for key in plausibility.CHECKS] == [1, pytest.approx(1, abs=0.2), 1, 1, 1]
    assert 30 < good["volume_percentile"] < 70
    high = judge(ellipsoid(RADII, (0, -15, 25)))
    assert high["position"] == pytest.approx(2 / 3) and high["volume"] == 1
    assert judge(ellipsoid(RADII, (0, 5, 5)))["beyond_sketch"] == 0
    huge = judge(ellipsoid(RADII * 1.5, (0, -15, 5)))
    assert huge["volume"] == 0 and huge["facts"] < 0.7 and huge["position"] == 1
    assert judge(ellipsoid(RADII, (0, -15, 5)) | ellipsoid((4, 4, 4), (60, 0, 60)))["components"] == 0
    nothing = judge(np.zeros(GRID.shape, bool))
    assert all(nothing[key] == 0 for key in plausibility.CHECKS)


def test_pieces_are_held_against_those_of_the_training_masks(known, ranges):
    two = ellipsoid((24, 12, 9), (0, 15, -5)) | ellipsoid((4, 4, 4), (60, 50, 60))
    args = (GRID, "mandible", Plane.named("axial", (0, 15, -5)), {}, ranges)
    assert plausibility.judge(two, *args, plausibility.Usual.fit(known))["components"] == 1
    unknown = plausibility.judge(two, *args, plausibility.Usual.fit(known[:10]))
    assert unknown["components"] == 0 and np.isnan(unknown["position"]) and np.isnan(unknown["beyond_sketch"])


def test_plausibility_is_told_beside_that_of_the_real_masks(known, ranges):
    real = ellipsoid(RADII, (0, -15, 5))
    q = question(real, ranges=ranges)
    found = [plausibility.both(q, ellipsoid(RADII * 1.5, (0, -15, 5)), {}, ranges, plausibility.Usual.fit(known))]
    made = plausibility.summarise(found, 0)
    assert list(made) == ["brainstem", "overall"]
    assert made["brainstem"]["volume"]["generated"]["mean"] == 0 and made["overall"]["volume"]["real"]["mean"] == 1
    assert made["brainstem"]["position"]["real"]["n"] == 0
    assert plausibility.summarise([], 0) == {}


def near(galleries, made, real, structure="brainstem", name="case_99"):
    return neighbours.both(galleries[structure], name, structure, made, real, GRID)


def test_a_moved_copy_of_a_training_mask_is_caught(known):
    galleries, copied = neighbours.galleries(known), known[6]
    real = ellipsoid(RADII * (1.3, 0.9, 1.1), (0, -15, 5))
    moved = np.zeros(GRID.shape, bool)
    small = copied.mask
    moved[3 : 3 + small.shape[0], 5 : 5 + small.shape[1], 2 : 2 + small.shape[2]] = small
    found = [near(galleries, moved, real), near(galleries, real, real, name="case_98")]
    assert found[0]["generated"]["case"] == copied.case and found[0]["generated"]["distance"] < 0.01
    made = neighbours.summarise(found, 0)
    assert made["brainstem"]["copies"] == [
        {"case": "case_99", "structure": "brainstem", "training": copied.case, "distance": pytest.approx(0, abs=0.01)}
    ]
    assert made["overall"]["copies"] == made["brainstem"]["copies"]
    assert made["brainstem"]["ratio"]["mean"] == pytest.approx(0.5, abs=0.1)
    assert made["brainstem"]["contrast"]["generated"]["mean"] < made["brainstem"]["contrast"]["real"]["mean"]


def test_real_masks_against_themselves_have_the_ratio_one(known):
    galleries = neighbours.galleries(known)
    masks = [ellipsoid(RADII * (1.3, 0.9, 1.1)), ellipsoid(RADII * (0.7, 1.0, 1.3))]
    made = neighbours.summarise([near(galleries, mask, mask, name=f"new_{n}") for n, mask in enumerate(masks)], 0)
    assert made["overall"]["ratio"] == {"mean": 1.0, "ci95": [1.0, 1.0], "n": 2}
    assert made["brainstem"]["generated"] == made["brainstem"]["real"] and not made["overall"]["copies"]
    assert 0.02 < made["brainstem"]["real"]["mean"] < 0.4


def test_the_distance_is_one_less_the_dice_of_centred_shapes():
    long, short = (training_mask(n, "brainstem", (12, 12, half), (0, 0, 0)) for n, half in enumerate((24, 12)))
    gallery = neighbours.galleries([long])["brainstem"]
    found = gallery.nearest(short.mask, short.grid, "other")
    assert found["distance"] == pytest.approx(1 - 2 * 12 / (12 + 24), abs=0.03)  # ellipsoids, one within the other
    own = gallery.nearest(long.mask, long.grid, long.case)
    assert own["case"] is None and np.isnan(own["distance"])
    assert np.isnan(gallery.nearest(np.zeros_like(long.mask), long.grid, "other")["distance"])


def test_contour_noise_is_no_difference_between_smoothed_masks():
    rng, plain = np.random.default_rng(0), ellipsoid()
    noisy = ellipsoid(RADII * 0.93) | (ellipsoid(RADII * 1.07) & (rng.random(GRID.shape) < 0.5))
    other = ellipsoid(RADII * (1.4, 1.4, 0.7))
    gallery = neighbours.galleries([training_mask(0, "brainstem", RADII, (0, 0, 0))])["brainstem"]
    rough, exact, far = (gallery.nearest(mask, GRID, "other") for mask in (noisy, plain, other))
    assert exact["distance"] < 0.01 and rough["distance"] > 0.04 and rough["smooth"] < 0.7 * rough["distance"]
    assert far["smooth"] > 0.15
    laid = gallery.raster.lay(noisy, GRID)
    assert abs(int(neighbours.smoothed(laid).sum()) - int(laid.sum())) <= 8


def test_a_mirrored_copy_counts_for_the_other_side():
    lopsided = ellipsoid((16, 10, 20)) & ~ellipsoid((12, 10, 12), (12, 6, 8))
    small, grid = crop(lopsided, GRID, 1)
    left = TrainingMask("a", "parotid_gland_left", small, grid, 1)
    right = training_mask(1, "parotid_gland_right", (10, 10, 10), (0, 0, 0))
    galleries = neighbours.galleries([left, right])
    mirrored = lopsided[::-1]
    assert galleries["parotid_gland_right"].nearest(mirrored, GRID, "b")["distance"] < 0.03
    assert galleries["parotid_gland_left"].nearest(mirrored, GRID, "b")["distance"] > 0.1


def test_training_masks_are_those_of_other_cases_that_training_can_use(toy_root):
    dataset = Dataset(toy_root)  # its mandibles are smaller than any real one
    found = training_masks(dataset, ["brainstem", "mandible", "larynx"], without=["toy_02"])
    assert [(known.case, known.structure) for known in found] == [(f"toy_0{n}", "brainstem") for n in (1, 3, 4, 5, 6)]
    labels = dataset.labels("toy_01")
    np.testing.assert_allclose(found[0].centroid, centroid(labels.mask("brainstem"), labels.grid))
    assert found[0].mask.sum() == labels.mask("brainstem").sum()
