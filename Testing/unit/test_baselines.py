"""Retrieval and mean shape on shapes whose answer is known."""

import time

import numpy as np
import pytest

from sketch2ct.data.nnunet import Dataset
from sketch2ct.evaluation import metrics
from sketch2ct.evaluation.baselines import MeanShape, Retrieval, fit_baselines, sketch_section
from sketch2ct.geometry import Grid, Plane
from sketch2ct.sketching import largest_section, sketch_of

GRID = Grid.centred((5, -10, 20), (2, 2, 2.5), (60, 60, 48))
FLIPPED = Grid((60, 60, 48), GRID.affine @ np.array([[-1, 0, 0, 59], [0, -1, 0, 59], [0, 0, 1, 0], [0, 0, 0, 1.0]]))


def ellipsoid(radii, centre=(5, -10, 20), grid=GRID):
    return ((((grid.voxel_centres() - centre) / radii) ** 2).sum(-1)) <= 1


def brick(half, centre=(5, -10, 20), grid=GRID):
    """Nearly a block: a superellipsoid, whose largest section is in its middle."""
    return ((np.abs(grid.voxel_centres() - centre) / half) ** 6).sum(-1) <= 1


def sketched(mask, orientation=None, grid=GRID):
    """Through the middle of the mask, or on its largest section."""
    middle = grid.to_ras(np.argwhere(mask)).mean(0)
    plane = Plane.named(orientation, middle) if orientation else largest_section(mask, grid)
    return sketch_of(mask, grid, "brainstem", plane)


@pytest.fixture(scope="module")
def training():
    shapes = [ellipsoid((32, 16, 16)), brick((16, 16, 30)), ellipsoid((12, 20, 30))]
    return [(mask, GRID) for mask in shapes]


@pytest.mark.parametrize("orientation", ["axial", "coronal", "sagittal"])
@pytest.mark.parametrize("number", [0, 1, 2])
def test_retrieval_finds_the_shape_that_was_sketched(training, number, orientation):
    truth = training[number][0]
    made = Retrieval.fit(training).generate(sketched(truth, orientation), GRID)
    assert metrics.dice(made, truth) > 0.9


def test_retrieval_moves_and_scales_the_shape_to_the_sketch(training):
    truth = ellipsoid(np.array([32, 16, 16]) * 0.75, (-5, 2, 30))
    made = Retrieval.fit(training).generate(sketched(truth), GRID)
    assert metrics.dice(made, truth) > 0.9
    assert metrics.volume_error(made.sum(), truth.sum()) < 0.1


def test_the_answer_is_in_patient_space_whatever_the_grid(training):
    truth = ellipsoid((12, 20, 30), (15, -20, 25))
    sketch = sketched(truth)
    made = Retrieval.fit(training).generate(sketch, FLIPPED)
    assert metrics.dice(made, ellipsoid((12, 20, 30), (15, -20, 25), FLIPPED)) > 0.9
    small = Grid.centred((15, -20, 25), (4, 4, 4), (16, 16, 18))
    made = Retrieval.fit(training).generate(sketch, small)
    assert metrics.dice(made, ellipsoid((12, 20, 30), (15, -20, 25), small)) > 0.85


def test_a_shape_outside_the_grid_leaves_it_empty(training):
    far = Grid.centred((500, 0, 0), (2, 2, 2), (20, 20, 20))
    assert not Retrieval.fit(training).generate(sketched(training[0][0]), far).any()


def test_an_oblique_sketch_is_answered(training):
    truth = ellipsoid((20, 20, 20))
    angle = np.radians(30)
    matrix = np.eye(4)
    matrix[:3, 1:3] = [[0, 0], [np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    matrix[:3, 3] = (5, -10, 20)
    made = Retrieval.fit(training).generate(sketch_of(truth, GRID, "brainstem", Plane(matrix)), GRID)
    assert min(metrics.plane_dice(made, truth, GRID, sketch_of(truth, GRID, "brainstem", Plane(matrix)))) > 0.9


def test_the_mean_of_ellipsoids_is_the_mean_ellipsoid():
    radii = np.array([[18, 16, 30], [22, 16, 34], [20, 16, 26], [20, 22, 30]])
    shape = MeanShape.fit([(ellipsoid(r), GRID) for r in radii])
    truth = ellipsoid(radii.mean(0), (0, -8, 22))
    made = shape.generate(sketched(truth, "coronal"), GRID)
    assert metrics.dice(made, truth) > 0.93
    assert metrics.volume_error(made.sum(), truth.sum()) < 0.08


def test_a_sketch_has_its_area_and_centre():
    section = sketch_section(sketched(ellipsoid((20, 16, 12), (8, -6, 22)), "axial"))
    assert section.area == pytest.approx(np.pi * 20 * 16, rel=0.05)
    np.testing.assert_allclose(section.centre, (8, -6, 22), atol=1.5)


def test_only_contoured_masks_are_learned_from(toy_root):
    found = fit_baselines(Dataset(toy_root), ["brainstem", "mandible", "larynx"])
    assert list(found) == ["brainstem", "mandible"]
    assert len(found["mandible"]["retrieval"].templates) == 6
    assert len(fit_baselines(Dataset(toy_root), ["mandible"], "Va")["mandible"]["retrieval"].templates) == 2


@pytest.mark.data
def test_real_brainstems_are_found_quickly_and_roughly_right(real_data_root):
    dataset = Dataset(real_data_root)
    masks = []
    for case in dataset.cases("Tr")[:40]:
        labels = dataset.labels(case)
        if labels.has("brainstem"):
            masks.append((labels.mask("brainstem"), labels.grid))
    methods = [Retrieval.fit(masks), MeanShape.fit(masks)]
    dice, seconds = [], []
    for case in dataset.cases("Va")[:8]:
        labels = dataset.labels(case)
        if not labels.has("brainstem"):
            continue
        truth = labels.mask("brainstem")
        sketch = sketched(truth, grid=labels.grid)
        for method in methods:
            start = time.process_time()
            dice.append(metrics.dice(method.generate(sketch, labels.grid), truth))
            seconds.append(time.process_time() - start)
    assert np.mean(dice) > 0.65
    assert np.median(seconds) < 0.5
