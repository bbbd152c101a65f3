"""Steering holds what is stated exactly, and only that."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sketch2ct.conditioning.strokes import in_grid
from sketch2ct.geometry import Grid, Plane
from sketch2ct.masks.boxes import TRUNCATION_MM
from sketch2ct.masks.steering import hold_section, hold_volume, volume_ml
from sketch2ct.request import Sketch

GRID = Grid.centred((0, 0, 0), (3.0, 3.0, 3.0), (24, 24, 24))
VOXEL_ML = GRID.voxel_ml


def ball(radius: float) -> torch.Tensor:
    distance = radius - np.linalg.norm(GRID.voxel_centres(), axis=-1)
    return torch.from_numpy(np.clip(distance / TRUNCATION_MM, -1, 1).astype(np.float32))[None, None]


def strokes(radius: float | None, meaning: str = "cross_section") -> torch.Tensor:
    sketches = []
    if radius:
        angle = np.linspace(0, 2 * np.pi, 80)
        plane = Plane.named("axial", (0, 0, 1.5))  # through voxel centres
        uv = radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        sketches = [Sketch("brainstem", plane, [plane.to_ras(uv)], True, meaning)]
    return torch.from_numpy(in_grid(sketches, GRID))[None]


def test_the_volume_of_a_ball_is_measured_to_two_percent():
    assert float(volume_ml(ball(20), VOXEL_ML)) == pytest.approx(4 / 3 * np.pi * 2**3, rel=0.02)


@pytest.mark.parametrize("asked", [25.0, 33.5, 42.0])
def test_the_volume_asked_for_is_reached(asked):
    made = hold_volume(ball(20), strokes(None), asked, VOXEL_ML)
    assert float(volume_ml(made, VOXEL_ML)) == pytest.approx(asked, rel=0.01)


def test_an_absurd_volume_is_not_forced():
    made = hold_volume(ball(20), strokes(None), 500.0, VOXEL_ML)
    assert float(volume_ml(made, VOXEL_ML)) < 65.0


def test_the_drawn_section_is_held_and_the_rest_left_alone():
    proposal, drawn = ball(20), strokes(12)
    made = hold_section(proposal, drawn, 3.0)
    on_plane = torch.linalg.norm(torch.from_numpy(GRID.voxel_centres())[:, :, 12, :2], dim=-1) < 12
    assert torch.equal(made[0, 0, :, :, 12] > 0, on_plane)
    far = drawn[0, 2] < 0.7  # 3.6 mm and more from the plane
    assert torch.equal(made[0, 0][far], proposal[0, 0][far])


def test_a_volume_is_reached_without_touching_the_drawn_section():
    drawn = strokes(20)
    made = hold_volume(ball(20), drawn, 40.0, VOXEL_ML)
    assert torch.equal(made[0, 0, :, :, 12], ball(20)[0, 0, :, :, 12])
    assert float(volume_ml(made, VOXEL_ML)) == pytest.approx(40.0, rel=0.01)


def test_nothing_is_held_without_a_cross_section():
    for given in (strokes(None), strokes(12, "silhouette")):
        assert torch.equal(hold_section(ball(20), given, 3.0), ball(20))
