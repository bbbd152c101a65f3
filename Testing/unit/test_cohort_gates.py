"""What the gates let through, flag and reject, at the edges of their limits."""

import copy

import pytest

from sketch2ct.cohort.gates import LIMITS, SWITCHES, judge, settings
from sketch2ct.errors import BadRequest

GOOD = {
    "sketches": [{"structure": "mandible", "plane": "axial", "meaning": "cross_section", "dice": 0.95, "contour_distance_95_mm": 1.0}],
    "structures": {
        "mandible": {
            "volume_ml": 60.0,
            "volume_percentile": 50.0,
            "asked_volume_ml": 60.0,
            "volume_error": 0.0,
            "components": 1,
            "largest_share": 1.0,
            "hu_median": 700.0,
            "hu_plausible": [200.0, 1500.0],
            "touches_border": False,
        }
    },
    "warnings": [],
}


def quality(structure=None, sketch=None):
    readout = copy.deepcopy(GOOD)
    readout["structures"]["mandible"].update(structure or {})
    readout["sketches"][0].update(sketch or {})
    return readout


def verdict(given=None, **changes):
    return judge(quality(**changes), settings(given)).verdict


def test_a_good_case_passes_without_a_word():
    assert judge(quality(), settings()) == judge(quality(), settings(None))
    assert judge(quality(), settings()).to_dict() == {"verdict": "pass", "reasons": []}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"sketch": {"dice": 0.9}}, "pass"),
        ({"sketch": {"dice": 0.8999}}, "flag"),
        ({"sketch": {"dice": 0.8}}, "flag"),
        ({"sketch": {"dice": 0.7999}}, "reject"),
        ({"sketch": {"dice": None}}, "pass"),
        ({"sketch": {"contour_distance_95_mm": 5.0}}, "pass"),
        ({"sketch": {"contour_distance_95_mm": 5.01}}, "flag"),
        ({"sketch": {"contour_distance_95_mm": 15.01}}, "reject"),
        ({"sketch": {"contour_distance_95_mm": None}}, "pass"),
        ({"structure": {"components": 2}}, "reject"),
        ({"structure": {"volume_percentile": 2.5}}, "pass"),
        ({"structure": {"volume_percentile": 2.4}}, "flag"),
        ({"structure": {"volume_percentile": 0.5}}, "flag"),
        ({"structure": {"volume_percentile": 0.4}}, "reject"),
        ({"structure": {"volume_percentile": 97.5}}, "pass"),
        ({"structure": {"volume_percentile": 97.6}}, "flag"),
        ({"structure": {"volume_percentile": 99.6}}, "reject"),
        ({"structure": {"volume_percentile": None}}, "pass"),
        ({"structure": {"volume_error": 0.25}}, "pass"),
        ({"structure": {"volume_error": -0.26}}, "flag"),
        ({"structure": {"volume_error": 0.51}}, "reject"),
        ({"structure": {"hu_median": 200.0}}, "pass"),
        ({"structure": {"hu_median": 199.0}}, "flag"),
        ({"structure": {"hu_median": 100.0}}, "flag"),
        ({"structure": {"hu_median": 99.0}}, "reject"),
        ({"structure": {"hu_median": 1601.0}}, "reject"),
        ({"structure": {"hu_median": None}}, "pass"),
        ({"structure": {"touches_border": True}}, "flag"),
        ({"structure": {"volume_ml": 0.0, "components": 0}}, "reject"),
    ],
)
def test_each_gate_at_its_edges(changes, expected):
    assert verdict(**changes) == expected


def test_the_worst_part_decides_and_every_reason_is_told():
    gate = judge(quality(structure={"components": 3, "hu_median": 150.0}, sketch={"dice": 0.85}), settings())
    assert gate.verdict == "reject"
    assert gate.reasons == (
        "The mask and the axial sketch of the mandible agree by a Dice of 0.85 only.",
        "The mandible is in 3 pieces instead of 1.",
        "The mandible has a median of 150; 200 to 1500 is usual.",
    )


def test_a_percentile_is_told_from_its_own_end():
    small = judge(quality(structure={"volume_percentile": 0.2, "volume_ml": 11.0}), settings()).reasons
    large = judge(quality(structure={"volume_percentile": 99.8, "volume_ml": 140.0}), settings()).reasons
    assert small == ("The mandible has 11 mL: smaller than 99.8 % of the training cases.",)
    assert large == ("The mandible has 140 mL: larger than 99.8 % of the training cases.",)


def test_a_tube_may_leave_the_frame():
    item = GOOD["structures"]["mandible"] | {"touches_border": True}
    assert judge({"structures": {"spinal_cord": item}}, settings()).verdict == "pass"
    assert judge({"structures": {"larynx": item}}, settings()).verdict == "flag"


def test_a_spec_moves_a_limit_and_leaves_its_neighbour():
    given = {"sketch_dice": {"reject": 0.5}, "pieces": {"flag": 0, "reject": 2}}
    assert verdict(given, sketch={"dice": 0.6}) == "flag"
    assert verdict(given, sketch={"dice": 0.4}) == "reject"
    assert verdict(given, structure={"components": 3}) == "flag"
    assert verdict(given, structure={"components": 4}) == "reject"


@pytest.mark.parametrize("name", [*LIMITS, *SWITCHES])
def test_each_gate_can_be_switched_off_alone(name):
    bad = {
        "sketch_dice": {"sketch": {"dice": 0.1}},
        "contour_mm": {"sketch": {"contour_distance_95_mm": 99.0}},
        "pieces": {"structure": {"components": 9}},
        "volume_tail": {"structure": {"volume_percentile": 0.0}},
        "volume_error": {"structure": {"volume_error": 3.0}},
        "hu_beyond": {"structure": {"hu_median": -900.0}},
        "empty": {"structure": {"volume_ml": 0.0}},
        "border": {"structure": {"touches_border": True}},
    }[name]
    assert verdict(**bad) != "pass"
    assert verdict({name: False}, **bad) == "pass"
    others = {other: False for other in (*LIMITS, *SWITCHES) if other != name}
    assert verdict(others, **bad) == verdict(**bad)
    assert verdict(False, **bad) == "pass"


def test_half_a_gate_can_be_switched_off():
    assert verdict({"volume_tail": {"reject": False}}, structure={"volume_percentile": 0.0}) == "flag"
    assert verdict({"border": "reject"}, structure={"touches_border": True}) == "reject"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"dice": {}}, "unknown keys: dice. Known: border, contour_mm, empty"),
        ({"sketch_dice": 0.8}, "'gates: sketch_dice' cannot be 0.8"),
        ({"sketch_dice": {"warn": 0.8}}, "'gates: sketch_dice' cannot be"),
        ({"pieces": {"reject": "many"}}, "'gates: pieces: reject' cannot be 'many'"),
        ({"pieces": {"reject": -1}}, "'gates: pieces: reject' cannot be -1"),
        ({"pieces": {"reject": float("nan")}}, "cannot be nan"),
        ({"empty": True}, "'gates: empty' cannot be True"),
        ("strict", "'gates' must hold settings"),
    ],
)
def test_a_wrong_setting_is_refused_with_what_would_do(given, words):
    with pytest.raises(BadRequest) as caught:
        settings(given)
    assert words in str(caught.value)


def test_settings_read_back_are_the_same():
    given = settings({"pieces": False, "border": "reject", "sketch_dice": {"flag": False}})
    assert settings(given) == given
