"""Sketches and words as network inputs: true places, blank paper, absent conditions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sketch2ct import describe
from sketch2ct.conditioning.batch import collate, condition_arrays
from sketch2ct.conditioning.fusion import Conditioner
from sketch2ct.conditioning.sketch_encoder import SketchEncoder
from sketch2ct.conditioning.strokes import POSE_SIZE, REACH_MM, drawing, in_grid
from sketch2ct.geometry import Grid, Plane
from sketch2ct.request import Sketch


def circle(plane: Plane, radius: float, meaning: str = "cross_section") -> Sketch:
    angle = np.linspace(0, 2 * np.pi, 60)
    uv = radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return Sketch("brainstem", plane, [plane.to_ras(uv)], True, meaning)


@pytest.fixture
def grid() -> Grid:
    return Grid.centred((10.0, -20.0, 30.0), (3.0, 3.0, 3.0), (24, 24, 24))


@pytest.mark.parametrize("orientation", ["axial", "coronal", "sagittal"])
def test_ink_lies_on_the_strokes_and_nowhere_else(grid, orientation):
    sketch = circle(Plane.named(orientation, grid.centre), 20.0)
    ink = in_grid([sketch], grid)[0]
    ras = grid.voxel_centres()
    uvw = sketch.plane.to_plane(ras)
    off = np.hypot(np.linalg.norm(uvw[..., :2], axis=-1) - 20.0, uvw[..., 2])
    assert ink[off < 2.0].min() > 0.7
    assert ink[off > 12.0].max() < 0.02


def test_section_is_the_signed_distance_on_the_plane(grid):
    sketch = circle(Plane.named("axial", grid.centre + np.array([0, 0, 1.5])), 20.0)
    section = in_grid([sketch], grid)[1]
    uvw = sketch.plane.to_plane(grid.voxel_centres())
    expected = np.tanh((20.0 - np.linalg.norm(uvw[..., :2], axis=-1)) / REACH_MM)
    assert np.abs(section - expected).max() < 0.08


def test_an_oblique_sketch_equals_an_axial_one_in_a_turned_grid():
    angle = np.radians(30)
    turn = np.eye(4)
    turn[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    straight = Grid.centred((0, 0, 0), (3, 3, 3), (20, 20, 20))
    turned = Grid(straight.shape, turn @ straight.affine)
    axial = Plane.named("axial", (0, 0, 0))
    a = in_grid([circle(axial, 18.0)], straight)
    b = in_grid([circle(Plane(turn @ axial.matrix), 18.0)], turned)
    assert np.abs(a - b).max() < 1e-3


def test_silhouettes_have_their_own_channels(grid):
    arrays = in_grid([circle(Plane.named("coronal", grid.centre), 20.0, "silhouette")], grid)
    assert not arrays[:3].any()
    assert (arrays[4] == 1).all()
    assert arrays[3][12, :, 12].min() > 0.8  # inside the shadow all along the normal


def test_blank_paper_does_not_count():
    torch.manual_seed(0)
    encoder = SketchEncoder(32, 4).eval()
    image = torch.zeros(1, 2, 40, 40)
    image[:, :, 4:8, 4:20] = 1.0
    pose = torch.zeros(1, POSE_SIZE)
    with torch.no_grad():
        capsules = encoder.backbone(image)
        assert not capsules[:, :, 6:, 6:].any()  # no bias: blank regions stay exactly zero
        tokens = encoder(image, pose)
        louder = encoder(torch.where(image > 0, image, 0.0), pose)
        empty = encoder(torch.zeros_like(image), pose)
    assert torch.equal(tokens, louder)
    assert not torch.allclose(tokens, empty)


def test_absent_conditions_are_ignored_exactly():
    """Padding sketches and padding words change nothing."""
    torch.manual_seed(0)
    net = Conditioner(32, 16, len(describe.FACTS), 3).eval()
    grid = Grid.centred((0, 0, 0), (3, 3, 3), (8, 8, 8))
    facts = np.zeros(2 * len(describe.FACTS), np.float32)
    sketch = circle(Plane.named("axial", (0, 0, 0)), 9.0)
    words = np.random.default_rng(0).normal(size=(5, 16)).astype(np.float32)
    one = condition_arrays([sketch], grid, words, facts, 1)
    two = condition_arrays([sketch, sketch], grid, np.concatenate([words, words]), facts, 1)
    fields = ("drawings", "poses", "drawn", "text", "spoken", "facts", "structure", "spacing")
    alone, padded = collate([one]), collate([one, two])
    with torch.no_grad():
        _, a = net(*(getattr(alone, f) for f in fields))
        _, b = net(*(getattr(padded, f) for f in fields))
    assert torch.allclose(a[0], b[0], atol=1e-5)
    assert not torch.allclose(b[0], b[1], atol=1e-5)


def test_a_drawing_is_scale_free_and_its_scale_is_in_the_pose():
    plane = Plane.named("axial", (0, 0, 0))
    (small, pose_small), (large, pose_large) = drawing(circle(plane, 10.0)), drawing(circle(plane, 40.0))
    assert np.abs(small - large).mean() < 0.02
    assert pose_large[6] - pose_small[6] == pytest.approx(np.log(4), abs=0.01)
