"""The readout's table marks what the backend warns of, and says what was measured."""

from __future__ import annotations

import itertools

import pytest

from sketch2ct import quality
from Sketch2CTModuleLib.Readout import Readout

SKETCH = {"structure": "mandible", "plane": "axial", "meaning": "cross_section", "dice": 0.93, "contour_distance_95_mm": 1.47}
STRUCTURE = {
    "volume_ml": 55.248,
    "volume_percentile": 32.3,
    "asked_volume_ml": 55.0,
    "volume_error": 0.0045,
    "components": 1,
    "largest_share": 1.0,
    "hu_median": 1381.0,
    "hu_plausible": [-41.0, 1843.3],
    "touches_border": False,
}


def readout(sketches=(), structures=None, warnings=()):
    return Readout({"sketches": list(sketches), "structures": structures or {}, "warnings": list(warnings)})


def test_a_good_result_is_all_ok_and_says_its_figures():
    assert readout([SKETCH], {"mandible": STRUCTURE}).rows == [
        ("Mandible: axial sketch", "Dice 0.93, 95 % of the contour within 1.5 mm", "ok"),
        ("Mandible: volume", "55.2 mL, larger than 32 % of the training cases, 55 mL asked for (+0 %)", "ok"),
        ("Mandible: median HU", "1381, usual -41 to 1843", "ok"),
    ]


def test_what_was_not_measured_has_no_row():
    bare = STRUCTURE | {"volume_percentile": None, "asked_volume_ml": None, "volume_error": None, "hu_median": None}
    silhouette = SKETCH | {"meaning": "silhouette", "dice": None}
    assert readout([silhouette], {"larynx": bare}).rows == [
        ("Mandible: axial silhouette", "95 % of the contour within 1.5 mm", "ok"),
        ("Larynx: volume", "55.2 mL", "ok"),
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"volume_ml": 0.0},
        *({"volume_percentile": rank} for rank in (0.0, 2.5, 2.6, 97.4, 97.5, 100.0)),
        *({"volume_error": error} for error in (-0.3, -0.25, 0.25, 0.26)),
        {"components": 3, "largest_share": 0.6},
        *({"hu_median": median} for median in (-42.0, -41.0, 1843.3, 1844.0)),
        {"touches_border": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["mandible", "spinal_cord"])
def test_a_structure_is_marked_exactly_when_the_backend_warns(name, change):
    item = STRUCTURE | change
    marked = [row for row in readout(structures={name: item}).rows if row[2] == "warn"]
    assert len(marked) == len(quality._structure_warnings(name, item, "HU"))


@pytest.mark.parametrize(("dice", "away"), list(itertools.product([None, 0.0, 0.79, 0.8, 1.0], [None, 0.0, 5.0, 5.1])))
def test_a_sketch_is_marked_exactly_when_the_backend_warns(dice, away):
    item = SKETCH | {"dice": dice, "contour_distance_95_mm": away}
    (row,) = readout([item]).rows
    assert (row[2] == "warn") == bool(quality._sketch_warnings(item))


def test_the_sentences_are_the_backends_warnings():
    assert readout(warnings=["The mandible is in 3 pieces."]).sentences == ["The mandible is in 3 pieces."]
    assert len(readout().sentences) == 1
    assert "No warnings" in Readout({"sketches": []}).sentences[0]
    assert "no quality readout" in Readout({}).sentences[0]


def test_volumes_at_the_ends_are_told_plainly():
    texts = [readout(structures={"mandible": STRUCTURE | {"volume_percentile": rank}}).rows[0][1] for rank in (0.0, 0.2, 99.9, 100.0)]
    assert ["smaller than all" in texts[0], "than 1 %" in texts[1], "than 99 %" in texts[2], "larger than all" in texts[3]] == [True] * 4


def test_a_structure_outside_the_vocabulary_is_still_shown():
    assert readout([SKETCH | {"structure": "spleen"}], {"spleen": STRUCTURE}).rows[1][0] == "spleen: volume"
