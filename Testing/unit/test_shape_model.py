"""The linear Gaussian shape model, on spheres and ellipsoids whose every measure is known."""

from __future__ import annotations

import numpy as np
import pytest

from sketch2ct import describe
from sketch2ct.conditioning.strokes import CHANNELS, in_grid
from sketch2ct.geometry import Grid, Plane
from sketch2ct.masks.boxes import TRUNCATION_MM
from sketch2ct.masks.shape_model import ShapeModel, coarse, finer, pack, unpack
from sketch2ct.request import Sketch

BOX = Grid.centred((0, 0, 0), (3, 3, 3), (24, 24, 32))
FACTS = len(describe.FACTS)
VOLUME, TALL = describe.FACTS.index("volume_ml"), describe.FACTS.index("extent_cc_mm")


def distance(radii: np.ndarray, centre=(0, 0, 0)) -> np.ndarray:
    offset = BOX.voxel_centres() - np.asarray(centre)
    scaled = np.linalg.norm(offset / radii, axis=-1)
    slope = np.linalg.norm(offset / radii**2, axis=-1) / np.maximum(scaled, 1e-6)
    return np.clip((1 - scaled) / np.maximum(slope, 1e-6) / TRUNCATION_MM, -1, 1).astype(np.float32)


@pytest.fixture(scope="module")
def model() -> ShapeModel:
    """Of 300 ellipsoids; width and height vary independently, by about a fifth."""
    rng = np.random.default_rng(0)
    shapes, facts = [], []
    for _ in range(300):
        width, height = rng.normal(0, 1, 2)
        radii = np.array([18 + 3 * width, 18 + 3 * width, 26 + 5 * height])
        shapes.append(distance(radii, rng.normal(0, 1.5, 3)))
        z = np.zeros(FACTS)
        z[TALL], z[VOLUME] = height, (2 * width * 3 / 18 + height * 5 / 26) * 2.5
        facts.append(z)
    return ShapeModel.fit(np.stack(shapes), np.stack(facts), modes=20)


def nothing() -> np.ndarray:
    return np.zeros((CHANNELS, *BOX.shape), np.float32)


def stated(**values: float) -> np.ndarray:
    facts = np.zeros(2 * FACTS, np.float32)
    for name, value in values.items():
        facts[describe.FACTS.index(name)], facts[FACTS + describe.FACTS.index(name)] = value, 1
    return facts


def drawn(orientation: str, half: tuple[float, float]) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, 80, endpoint=False)
    plane = Plane.named(orientation, (0, 0, 0))
    uv = np.stack([half[0] * np.cos(angle), half[1] * np.sin(angle), 0 * angle], axis=1)
    return in_grid([Sketch("brainstem", plane, [uv @ plane.matrix[:3, :3].T])], BOX)


def extent(shape: np.ndarray, axis: int) -> float:
    """Through the middle, in mm, to a fraction of a voxel."""
    line = np.moveaxis(shape, axis, -1)[12, 12] if axis == 2 else np.moveaxis(shape, axis, -1)[12, 16]
    return float(np.clip(line * TRUNCATION_MM / 3 + 0.5, 0, 1).sum() * 3)


def test_without_a_word_it_expects_the_mean(model) -> None:
    mean, deviation = model.expected(nothing(), 3.0, np.zeros(2 * FACTS, np.float32))
    assert np.allclose(mean, np.clip(finer(model.mean[None])[0], -1, 1), atol=1e-5)
    assert 46 < extent(mean, 2) < 53  # a mean of truncated distances is a little smaller than the mean shape
    spread = np.sqrt((model.modes**2).sum(0) + model.rest)
    assert deviation.mean() == pytest.approx(spread.mean(), rel=0.1)


@pytest.mark.parametrize("height", [-1.5, 1.5])
def test_a_stated_height_moves_the_height_and_not_the_width(model, height) -> None:
    usual = model.expected(nothing(), 3.0, np.zeros(2 * FACTS, np.float32))[0]
    told = model.expected(nothing(), 3.0, stated(extent_cc_mm=height))[0]
    assert extent(told, 2) - extent(usual, 2) == pytest.approx(2 * 5 * height, rel=0.3)
    assert abs(extent(told, 0) - extent(usual, 0)) < 1.5


def test_a_drawn_section_is_met_and_says_nothing_of_what_is_independent(model) -> None:
    strokes = drawn("axial", (22, 22))
    told = model.expected(strokes, 3.0, np.zeros(2 * FACTS, np.float32))[0]
    assert extent(told, 0) == pytest.approx(44, abs=2)
    assert extent(told, 2) == pytest.approx(52, abs=4)


def test_what_is_known_leaves_less_doubt(model) -> None:
    free = model.expected(nothing(), 3.0, np.zeros(2 * FACTS, np.float32))[1]
    one = model.expected(drawn("axial", (18, 18)), 3.0, np.zeros(2 * FACTS, np.float32))[1]
    two = model.expected(drawn("axial", (18, 18)), 3.0, stated(extent_cc_mm=0.0))[1]
    assert free.mean() > 1.1 * one.mean() > 1.1 * two.mean()
    assert one[:, :, 15:17].mean() < one[:, :, 22:26].mean(), "surer on the drawn plane than away from it"


def test_it_comes_back_from_its_arrays(model) -> None:
    again = unpack(pack({"spinal_cord": model, "mandible": model}))
    assert set(again) == {"spinal_cord", "mandible"}
    strokes, facts = drawn("coronal", (20, 30)), stated(volume_ml=1.0)
    assert np.array_equal(again["mandible"].expected(strokes, 3.0, facts), model.expected(strokes, 3.0, facts))


def test_few_shapes_give_few_modes() -> None:
    shapes = np.stack([distance(np.full(3, radius)) for radius in (15.0, 18.0, 21.0)])
    small = ShapeModel.fit(shapes, np.zeros((3, FACTS)), modes=80)
    assert len(small.modes) <= 2
    assert np.isfinite(small.expected(nothing(), 3.0, np.zeros(2 * FACTS, np.float32))).all()


def test_blocks_and_voxels() -> None:
    ramp = np.broadcast_to(np.arange(8.0)[:, None, None], (1, 8, 4, 6)).astype(np.float32)
    assert coarse(ramp)[0, :, 0, 0].tolist() == [0.5, 2.5, 4.5, 6.5]
    assert finer(coarse(ramp))[0, 1:-1, 2, 3] == pytest.approx(np.arange(1, 7))
    assert finer(np.ones((2, 1, 3, 2))).shape == (2, 2, 6, 4)
