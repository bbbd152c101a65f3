"""The quality readout, on masks whose agreement, volume and HU are known."""

import numpy as np
import pytest

from fake_backend import circle
from sketch2ct.geometry import Grid
from sketch2ct.imaging import CTVolume, LabelVolume
from sketch2ct.quality import readout
from sketch2ct.request import GenerationRequest

METADATA = {"ranges": {"mandible": {"volume_ml": np.linspace(10, 110, 21).tolist()}}, "hu": {"mandible": [300, 900]}}


@pytest.fixture
def grid():
    return Grid.centred((0, 0, 0), (2, 2, 2), (60, 60, 40))


def ball(grid, radius, centre=(0, 0, 0)):
    return ((grid.voxel_centres() - centre) ** 2).sum(-1) <= radius**2


def judged(grid, mask, sketches=(), text="a mandible", hu=600):
    labels = LabelVolume(mask.astype(np.uint8), grid, {1: "mandible"})
    ct = CTVolume(np.where(mask, hu, 40).astype(np.int16), grid)
    return readout(labels, ct, GenerationRequest(list(sketches), text), METADATA)


def test_a_ball_under_its_own_outline_agrees(grid):
    result = judged(grid, ball(grid, 20), [circle(20), circle(20, orientation="coronal")])
    for item in result["sketches"]:
        assert item["dice"] > 0.97 and item["contour_distance_95_mm"] < 1.5
    assert result["warnings"] == []


def test_a_shifted_ball_has_the_dice_of_two_overlapping_discs(grid):
    (item,) = judged(grid, ball(grid, 20, (10, 0, 0)), [circle(20)])["sketches"]
    d, r = 10.0, 20.0
    lens = 2 * r**2 * np.arccos(d / (2 * r)) - d / 2 * np.sqrt(4 * r**2 - d**2)
    assert item["dice"] == pytest.approx(lens / (np.pi * r**2), abs=0.02)
    assert item["contour_distance_95_mm"] == pytest.approx(10, abs=1.0)


def test_a_section_off_the_middle_is_compared_there_and_a_silhouette_with_the_shadow(grid):
    off = np.sqrt(20**2 - 12**2)
    section, shadow = circle(off, (0, 0, 12)), circle(20, (0, 0, 12), meaning="silhouette")
    for item in judged(grid, ball(grid, 20), [section, shadow])["sketches"]:
        assert item["dice"] > 0.95, item


def test_an_open_stroke_has_a_distance_but_no_dice(grid):
    (item,) = judged(grid, ball(grid, 20), [circle(20, closed=False)])["sketches"]
    assert item["dice"] is None and item["contour_distance_95_mm"] < 1.5


def test_volume_percentile_parts_and_hu_are_measured(grid):
    mask = ball(grid, 20) | ball(grid, 4, (40, 40, 20))
    item = judged(grid, mask)["structures"]["mandible"]
    volume = mask.sum() * 0.008
    assert item["volume_ml"] == pytest.approx(volume, abs=1e-3)
    assert item["volume_percentile"] == pytest.approx(volume - 10, abs=0.1)
    assert item["components"] == 2 and item["largest_share"] == pytest.approx(ball(grid, 20).sum() / mask.sum(), abs=1e-4)
    assert item["hu_median"] == 600 and item["hu_plausible"] == [300, 900]


def test_parts_that_touch_at_a_corner_are_one(grid):
    mask = np.zeros(grid.shape, dtype=bool)
    mask[10, 10, 10] = mask[11, 11, 11] = True
    assert judged(grid, mask)["structures"]["mandible"]["components"] == 1


@pytest.mark.parametrize(
    ("radius", "text", "hu", "warning"),
    [
        (29.8, "a mandible", 600, "The mandible is larger than all of the training cases."),
        (13.4, "a mandible", 600, "The mandible is smaller than 99 % of the training cases."),
        (20, "a mandible", 20, "The mandible has a median of 20 HU; 300 to 900 HU is usual."),
        (20, "a mandible of 20 mL", 600, "The mandible has 34 mL, 69 % larger than the 20 mL asked for."),
    ],
)
def test_what_a_reader_should_look_at_is_said_in_plain_words(grid, radius, text, hu, warning):
    assert judged(grid, ball(grid, radius), text=text, hu=hu)["warnings"] == [warning]


def test_loose_missed_empty_cut_and_mismatched_results_are_warned_of(grid):
    assert "loosely" in judged(grid, ball(grid, 20, (25, 0, 0)), [circle(20)])["warnings"][0]
    assert "does not meet the plane" in judged(grid, ball(grid, 20), [circle(10, (0, 0, 30))])["warnings"][0]
    empty = judged(grid, ball(grid, 20) & False, [circle(20)])["warnings"]
    assert "The mandible came out empty." in empty
    assert any("touches the border" in text for text in judged(grid, ball(grid, 20, (55, 0, 0)))["warnings"])
    said = judged(grid, ball(grid, 20), [circle(20)], text="a large left parotid gland")["warnings"]
    assert said == ["The description speaks of the left parotid gland, but the mandible is sketched."]


def test_without_training_ranges_the_vocabulary_stands_in(grid):
    labels = LabelVolume(ball(grid, 20).astype(np.uint8), grid, {1: "mandible"})
    item = readout(labels, None, GenerationRequest([], "a mandible"), {})["structures"]["mandible"]
    assert item["volume_percentile"] is None and item["hu_median"] is None and item["hu_plausible"][0] < 300
