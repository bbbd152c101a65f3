"""The linear map that holds stated extents, lengths and tilts, on ellipsoids whose measures are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sketch2ct import describe
from sketch2ct.describe import Ranges
from sketch2ct.geometry import Grid, Plane
from sketch2ct.masks.shaping import EXTENTS, FEWEST, Form, Target, fit, hold_shape, move
from sketch2ct.request import Sketch

UNIT_MM = 10.0
BOX = Grid.centred((5, -3, 8), (4, 4.2, 3.5), (40, 32, 30))
CENTRE = np.array([8.0, 0.0, 10.0])
RADII = np.array([22.0, 15.0, 30.0])


def ellipsoid(tilt: float = 0.0) -> torch.Tensor:
    """An ellipsoid's (approximate) signed distance in the box, its long axis tilted towards the front."""
    a = np.radians(tilt)
    turn = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    offset = (BOX.voxel_centres() - CENTRE) @ turn
    scaled = np.linalg.norm(offset / RADII, axis=-1)
    slope = np.linalg.norm(offset / RADII**2, axis=-1) / np.maximum(scaled, 1e-6)
    distance = (1 - scaled) / np.maximum(slope, 1e-6)
    return torch.as_tensor(np.clip(distance / UNIT_MM, -1, 1), dtype=torch.float32)[None, None]


def measured(clean: torch.Tensor) -> dict[str, float]:
    form = Form.of(clean[0, 0].numpy() * UNIT_MM, BOX)
    assert form is not None
    return form.measured(np.eye(3))


def drawn(orientation: str, at: float = 0.0) -> Sketch:
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    plane = Plane.named(orientation, (0, 0, at) if orientation == "axial" else (0, at, 0))
    uv = 15 * np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)
    return Sketch("brainstem", plane, [uv @ plane.matrix[:3, :3].T + plane.matrix[:3, 3]])


@pytest.fixture(scope="module")
def ranges() -> Ranges:
    grid = Grid.centred((0, 0, 0), (3, 3, 3), (30, 30, 30))
    way = grid.voxel_centres()
    cases = [describe.measure(np.linalg.norm(way / np.array([n, n, 1.5 * n]), axis=-1) < 1, grid.affine) for n in range(8, 25)]
    return Ranges.fit(cases)


def test_an_ellipsoid_measures_what_it_is() -> None:
    found = measured(ellipsoid())
    for fact, radius in zip(EXTENTS, RADII, strict=True):
        assert found[fact] == pytest.approx(2 * radius, rel=0.05)
    assert found["length_mm"] == pytest.approx(60, rel=0.05)
    assert found["tilt_deg"] < 2
    assert found["elongation"] == pytest.approx(1 - 22 / 30, abs=0.03)
    assert found["flatness"] == pytest.approx(1 - 15 / 22, abs=0.04)
    assert measured(ellipsoid(25))["tilt_deg"] == pytest.approx(25, abs=2)


def test_the_map_looks_up_where_it_says() -> None:
    """A stretch by 1.5 about a point, and nothing else: the long axis grows, the point stays."""
    stretched = move(ellipsoid(), BOX, np.linalg.inv(np.diag([1.0, 1.0, 1.5])), CENTRE)
    found = measured(stretched)
    assert found["extent_cc_mm"] == pytest.approx(90, rel=0.05)
    assert found["extent_lr_mm"] == pytest.approx(44, rel=0.05)
    form = Form.of(stretched[0, 0].numpy() * UNIT_MM, BOX)
    assert form is not None
    assert form.centre == pytest.approx(CENTRE, abs=0.5)
    same = move(ellipsoid(), BOX, np.eye(3), CENTRE)
    assert torch.allclose(same, ellipsoid(), atol=1e-4)


@pytest.mark.parametrize(("fact", "value"), [("extent_lr_mm", 60.0), ("extent_ap_mm", 20.0), ("extent_cc_mm", 85.0), ("length_mm", 80.0)])
def test_a_stated_size_is_met_within_the_leeway(fact: str, value: float) -> None:
    held = measured(hold_shape(ellipsoid(), BOX, UNIT_MM, Target({fact: (value, 1.0)})))
    assert held[fact] == pytest.approx(value, rel=0.25)
    before = measured(ellipsoid())
    assert abs(np.log(held[fact] / value)) < 0.6 * abs(np.log(before[fact] / value))
    others = [name for name in EXTENTS if name != fact and not (fact == "length_mm" and name == "extent_cc_mm")]
    for name in others:
        assert held[name] == pytest.approx(before[name], rel=0.04), "what was not asked for changed"


@pytest.mark.parametrize("tilt", [0.0, 40.0])
def test_a_stated_tilt_turns_it(tilt: float) -> None:
    held = measured(hold_shape(ellipsoid(20), BOX, UNIT_MM, Target({"tilt_deg": (tilt, 1.0)})))
    assert abs(held["tilt_deg"] - tilt) < 10
    assert held["extent_lr_mm"] == pytest.approx(44, rel=0.05)


def test_what_is_near_enough_is_left_alone() -> None:
    form = Form.of(ellipsoid()[0, 0].numpy() * UNIT_MM, BOX)
    assert form is not None
    assert fit(form, Target({"extent_lr_mm": (47.0, 1.0), "tilt_deg": (4.0, 1.0)})) == pytest.approx(np.eye(3), abs=1e-3)


def test_a_word_is_held_less_strictly_than_a_number() -> None:
    form = Form.of(ellipsoid()[0, 0].numpy() * UNIT_MM, BOX)
    assert form is not None
    number, word = (fit(form, Target({"extent_lr_mm": (70.0, weight)}))[0, 0] for weight in (1.0, 1 / 3))
    assert 1.05 < word < number


def test_the_drawn_plane_stays() -> None:
    """With one section across an axis, the map stretches along that axis about the plane, so the plane itself does not change."""
    target = Target({"extent_cc_mm": (95.0, 1.0)}, axis=2, place=float(BOX.to_ras((0, 0, 14))[2]))
    held, before = hold_shape(ellipsoid(20), BOX, UNIT_MM, target), ellipsoid(20)
    assert torch.allclose(held[..., 14], before[..., 14], atol=1e-4)
    assert measured(held)["extent_cc_mm"] > 1.2 * measured(before)["extent_cc_mm"]


def test_what_counts_as_a_target(ranges: Ranges) -> None:
    read = describe.read
    full = Target.of(read("a wide brainstem, 60 mm tall, tilted 20 degrees, of 30 mL"), ranges, [])
    assert full is not None
    assert full.facts["extent_cc_mm"] == (60.0, 1.0)
    assert full.facts["tilt_deg"] == (20.0, 1.0)
    assert full.facts["extent_lr_mm"][1] < 1
    assert "volume_ml" not in full.facts, "held elsewhere"
    one = Target.of(read("brainstem, 60 mm tall, 30 mm wide, tilted 20 degrees"), ranges, [drawn("axial", 7.0)])
    assert one == Target({"extent_cc_mm": (60.0, 1.0)}, axis=2, place=7.0)
    assert Target.of(read("brainstem, 30 mm wide"), ranges, [drawn("axial")]) is None, "it lies in the plane, where the outline rules"
    assert Target.of(read("brainstem, 60 mm tall"), ranges, [drawn("axial"), drawn("coronal")]) is None
    assert Target.of(read("a brainstem"), ranges, []) is None
    silhouette = Sketch("brainstem", drawn("axial").plane, drawn("axial").strokes, True, "silhouette")
    assert Target.of(read("brainstem, 60 mm tall"), ranges, [silhouette]) is None
    oblique = Plane.named("axial", (0, 0, 0))
    angle = np.radians(30)
    turn = np.eye(4)
    turn[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    tipped = Sketch("brainstem", Plane(turn @ oblique.matrix), [s @ turn[:3, :3].T for s in drawn("axial").strokes])
    assert Target.of(read("brainstem, 60 mm tall"), ranges, [tipped]) is None


def test_nothing_inside_is_no_shape() -> None:
    empty = torch.full((1, 1, *BOX.shape), -1.0)
    assert hold_shape(empty, BOX, UNIT_MM, Target({"extent_lr_mm": (60.0, 1.0)})) is empty
    crumb = empty.clone()
    crumb[0, 0, 5, 5, 5 : 5 + FEWEST - 1] = 0.1
    assert hold_shape(crumb, BOX, UNIT_MM, Target({"extent_lr_mm": (60.0, 1.0)})) is crumb
