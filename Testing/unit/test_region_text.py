"""Descriptions of a whole region: facts -> sentences -> facts, relations measured back, and what any text says of which structure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sketch2ct.anatomy import vocabulary
from sketch2ct.describe import FACTS, Facts, Ranges, region
from sketch2ct.describe.relations import KINDS, OPPOSITE, WORDS, Pair, Relation, holds, measured, varying

RIGHT, LEFT = "parotid_gland_right", "parotid_gland_left"
NAMES = ("brainstem", RIGHT, LEFT, "larynx", "mandible")


def some_facts(rng, middle=(0.0, 0.0, 0.0)):
    values = {name: float(rng.uniform(30, 90)) for name in FACTS}
    values |= {name: float(rng.uniform(0.3, 0.9)) for name in ("elongation", "flatness", "sphericity", "smoothness", "symmetry")}
    return Facts(**values, components=1, centroid_ras=tuple(float(x) for x in np.add(middle, rng.normal(0, 8, 3))))


@pytest.fixture(scope="module")
def cases():
    rng = np.random.default_rng(0)
    places = {name: (0.0, 0.0, 60.0 * n) for n, name in enumerate(("larynx", "mandible", "brainstem"))}
    places |= {RIGHT: (50.0, 0, 70), LEFT: (-50.0, 0, 70)}
    return [{name: some_facts(rng, places[name]) for name in NAMES} for _ in range(40)]


@pytest.fixture(scope="module")
def ranges(cases):
    return {name: Ranges.fit([case[name] for case in cases]) for name in NAMES}


def test_every_statement_reads_back_as_what_it_says(cases, ranges):
    rng = np.random.default_rng(1)
    pairs = varying(cases, NAMES)
    kinds = set()
    for case in cases[:20]:
        for statement in region.statements(case, ranges, rng, count=20, pairs=pairs):
            reading = region.read(statement.text)
            assert reading.relations == statement.relations, statement.text
            for name, said in statement.said.items():
                assert reading.said[name].values == pytest.approx(said.values), statement.text
                assert reading.said[name].levels == said.levels, statement.text
            kinds |= {relation.kind for relation in statement.relations}
    assert kinds == set(KINDS)


def test_a_description_of_many_statements_gives_each_structure_its_own(cases, ranges):
    rng = np.random.default_rng(2)
    for case in cases:
        found = region.statements(case, ranges, rng, count=6, pairs=varying(cases, NAMES))
        reading = region.read(" ".join(s.text for s in found))
        assert set(reading.relations) == {r for s in found for r in s.relations}
        for name in NAMES:
            levels = {fact: level for s in found if name in s.said for fact, level in s.said[name].levels.items()}
            assert reading.said.get(name, region.Reading()).levels == levels, [s.text for s in found]


def test_what_is_said_of_relations_is_true_of_the_case(cases, ranges):
    rng = np.random.default_rng(3)
    for case in cases:
        for statement in region.statements(case, ranges, rng, count=10, pairs=varying(cases, NAMES)):
            assert all(holds(relation, case) for relation in statement.relations)


def test_volumes_of_mirror_partners_compare_with_a_margin(cases):
    case = cases[0]
    for ratio, kind, one in ((1.3, "larger", RIGHT), (0.7, "larger", LEFT), (1.05, "equal", RIGHT), (0.95, "equal", RIGHT)):
        case = {**case, RIGHT: replace(case[RIGHT], volume_ml=30 * ratio), LEFT: replace(case[LEFT], volume_ml=30.0)}
        (relation,) = measured(case)
        assert (relation.kind, relation.one) == (kind, one)
    assert not measured({RIGHT: case[RIGHT], "larynx": case["larynx"]})


def test_only_orders_that_vary_between_people_are_worth_words(cases):
    found = varying(cases, NAMES)
    assert Pair("above", RIGHT, LEFT) in found and Pair("in_front", RIGHT, LEFT) in found
    assert not [p for p in found if p.kind == "above" and {p.one, p.other} == {"larynx", "brainstem"}]


@pytest.mark.parametrize("kind", WORDS)
def test_both_directions_are_one_statement(kind):
    opposite = {**OPPOSITE, **{v: k for k, v in OPPOSITE.items()}}.get(kind, kind)
    assert Relation.of(kind, RIGHT, LEFT) == Relation.of(opposite, LEFT, RIGHT)
    for word in WORDS[kind]:
        assert region.read(f"The right parotid {word} the left one").relations == (Relation.of(kind, RIGHT, LEFT),)


def test_free_text_is_sorted_by_structure():
    text = (
        "A broad mandible of 62 mL, and the larynx is small. The right parotid gland is larger than the left; "
        "it is 40 mL. The brainstem lies above the larynx, the spinal cord is thin."
    )
    found = region.read(text)
    assert found.said["mandible"].values == {"volume_ml": 62.0} and found.said["mandible"].levels == {"extent_lr_mm": 87.5}
    assert found.said["larynx"].levels["volume_ml"] == 12.5
    assert found.said["spinal_cord"].levels == {"thickness_mm": 12.5}
    assert found.said[RIGHT].values == {"volume_ml": 40.0} and "volume_ml" not in found.said[RIGHT].levels
    assert set(found.relations) == {Relation("larger", RIGHT, LEFT), Relation("above", "brainstem", "larynx")}


def test_larger_than_average_compares_with_no_structure():
    found = region.read("The left parotid gland is larger than average. Both parotid glands are smooth.")
    assert not found.relations
    assert found.said[LEFT].levels == {"volume_ml": 72.5, "smoothness": 87.5} and found.said[RIGHT].levels == {"smoothness": 87.5}


@pytest.mark.parametrize("text", ["", "   ", "a man of 60 years", "larger than the left", "\n\n;;;", "x" * 50_000, "İ larger than all"])
def test_text_about_nothing_says_nothing(text):
    found = region.read(text)
    assert not found.relations and not found.said


def test_a_pronoun_stays_with_what_it_stands_for():
    parts = region.chunks("The mandible is wide. It is 60 mL. The larynx is small.")
    assert parts == [("The mandible is wide. It is 60 mL.", ("mandible",)), ("The larynx is small.", ("larynx",))]


def test_neither_sex_nor_age_is_ever_mentioned(cases, ranges):
    rng = np.random.default_rng(4)
    text = " ".join(region.describe(case, ranges, rng).lower() for case in cases)
    assert not set(text.split()) & {"man", "woman", "male", "female", "years", "old", "he", "she", "his", "her"}
    assert all(vocabulary()[name].spoken.split()[-1] in text for name in NAMES)


def test_a_case_without_structures_cannot_be_described(ranges):
    with pytest.raises(ValueError, match="nothing to describe"):
        region.statements({}, ranges, np.random.default_rng(0), count=1)
