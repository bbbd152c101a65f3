"""Regions drawn from how their structures go together: what is given stays, what is said holds, the rest follows."""

import numpy as np
import pytest

from regions import CLASSES, FRAME, PLACEMENT, STRUCTURES, ball, law, people, ranges
from sketch2ct.describe import measure
from sketch2ct.describe.region import read
from sketch2ct.describe.relations import Relation, holds
from sketch2ct.geometry import Grid
from sketch2ct.masks.region_aims import Aim
from sketch2ct.masks.region_law import Draw, RegionLaw

RIGHT, LEFT, LARYNX = STRUCTURES
FINE = Grid.centred((0, 0, 0), (4, 4, 4), (40, 40, 40))


def facts_of(codes, frame=FINE):
    return {name: law().measured(name, code, frame) for name, code in codes.items()}


def drawn(text="", given=None, seed=0, frame=FINE):
    return law().drawn(frame, given or {}, read(text) if text else None, np.random.default_rng(seed))


def test_people_drawn_from_nothing_are_like_those_it_was_fitted_to():
    fine, masks = people()
    made = [facts_of(drawn(seed=seed)) for seed in range(30)]
    for name in STRUCTURES:
        real = np.log([measure(own[name], fine.affine).volume_ml for own in masks])
        ours = np.log([own[name].volume_ml for own in made])
        assert ours.mean() == pytest.approx(real.mean(), abs=0.15) and 0.5 < ours.std() / real.std() < 1.5
        away = np.array([np.subtract(own[name].centroid_ras, PLACEMENT[name]) for own in made])
        assert np.abs(away.mean(axis=0)).max() < 2 and np.abs(away).max() < 12
    right, left = (np.log([own[name].volume_ml for own in made]) for name in (RIGHT, LEFT))
    assert np.corrcoef(right, left)[0, 1] > 0.4  # glands grow together


def test_given_structures_keep_their_code_and_the_rest_follows():
    sizes = {}
    for radius in (11.0, 17.0):
        mask = ball(FINE, np.add(PLACEMENT[RIGHT], (6, 0, 0)), radius)
        given = {RIGHT: law().shapes[RIGHT].code(mask, FINE)}
        made = [drawn(given=given, seed=seed) for seed in range(8)]
        assert all(np.array_equal(own[RIGHT], given[RIGHT]) for own in made)
        sizes[radius] = np.mean([np.log(facts_of(own)[LEFT].volume_ml) for own in made])
        others = np.mean([own[LARYNX][0] - PLACEMENT[LARYNX][0] for own in made])
        assert others == pytest.approx(6, abs=3)  # all of the region lies where the given structure does
    assert sizes[17.0] > sizes[11.0] + 0.3


@pytest.mark.parametrize("seed", range(4))
def test_stated_numbers_words_and_relations_hold(seed):
    text = "The larynx has a volume of 14 mL. The right parotid gland is larger than the left one. The left parotid gland is small."
    own = facts_of(drawn(text, seed=seed))
    assert own[LARYNX].volume_ml == pytest.approx(14, rel=0.1)
    assert holds(Relation("larger", RIGHT, LEFT), own)
    assert ranges()[LEFT].percentile("volume_ml", own[LEFT].volume_ml) < 50
    own = facts_of(drawn("The right parotid gland lies higher than the left one.", seed=seed))
    assert holds(Relation("above", RIGHT, LEFT), own)
    own = facts_of(drawn("The right parotid gland is about as large as the left one.", seed=seed))
    assert holds(Relation("equal", *sorted((RIGHT, LEFT), key=list(STRUCTURES).index)), own)


def test_what_cannot_be_does_not_bend_everything_else():
    own = facts_of(drawn("The larynx is 400 mm long and very rough. The larynx has a volume of 900 mL."))
    for name in (RIGHT, LEFT):
        assert np.abs(np.subtract(own[name].centroid_ras, PLACEMENT[name])).max() < 12
        assert 5 < own[name].volume_ml < 25


def test_many_statements_do_not_make_a_strange_shape():
    text = "The larynx is very long, very wide, shallow, very rough, asymmetrical and plump. It is 70 mm long. It has a volume of 12 mL."
    for seed in range(3):
        codes, start = drawn(text, seed=seed), law()._starts[LARYNX]
        part = slice(start, start + law().shapes[LARYNX].length)
        away = (codes[LARYNX] - law().mean[part])[3:] / law().scale[part][3:]
        assert np.abs(away).max() < 5 and np.sqrt(np.mean(away**2)) < 1.5
        assert facts_of(codes)[LARYNX].volume_ml == pytest.approx(12, rel=0.15)


def test_what_is_not_spoken_of_is_as_if_nothing_were_said():
    for seed in range(3):
        silent, told = (facts_of(drawn(text, seed=seed)) for text in ("", "The larynx has a volume of 13 mL and is very rough."))
        for name in (RIGHT, LEFT):
            assert told[name].volume_ml == pytest.approx(silent[name].volume_ml, rel=0.35)


def test_the_draw_that_shows_best_what_is_stated_is_taken(monkeypatch):
    shown = [(True, 2.0), (False, 0.1), (True, 0.5), (True, 1.0)]
    draws = [Draw({"n": np.array([n])}, whole, missed) for n, (whole, missed) in enumerate(shown)]

    def taken(queue):
        monkeypatch.setattr(RegionLaw, "_draw", lambda *a: queue.pop(0))
        return law().drawn(FINE, {}, None, np.random.default_rng(0))["n"][0], len(queue)

    assert taken([*draws, *draws]) == (2, 3)  # the fourth whole one is the last that is looked at
    assert taken([draws[1], Draw({"n": np.array([9])}, True, 0.0), *draws]) == (9, 4)  # nothing is missed
    assert taken([draws[1]] * 7) == (1, 1)  # none is whole


def test_the_rest_follows_as_a_brute_force_condition_says():
    rng = np.random.default_rng(3)
    known, target = law(), 1.3
    aim = Aim({(LARYNX, "fact", 0): 1.0}, target, 0.1)
    row, usual = known._row(aim.weights)
    root = np.linalg.cholesky(known.correlation + 1e-9 * np.eye(len(row)))
    draws = np.stack([root @ rng.standard_normal(len(row)) for _ in range(4000)])
    told = np.stack([known._conditioned(x, known.correlation, [aim], [target]) for x in draws])
    # of all draws those that show it, or nearly
    near = draws[np.abs(draws @ row + usual - target) < 0.15]
    assert len(near) > 30
    assert told.mean(axis=0) == pytest.approx(near.mean(axis=0), abs=5 / np.sqrt(len(near)))


def test_a_structure_that_was_not_contoured_tells_nothing():
    fine, masks = people(16)
    shapes = law().shapes
    cases = []
    for n, own in enumerate(masks):
        names = STRUCTURES if n % 2 else (RIGHT, LEFT)
        facts = {name: measure(own[name], fine.affine) for name in names}
        cases.append(({name: shapes[name].code(own[name], fine) for name in names}, facts, np.zeros(3)))
    part = RegionLaw.fit(cases, shapes, ranges(), PLACEMENT)
    whole = [case for case in cases if LARYNX in case[0]]
    alone = RegionLaw.fit(whole, shapes, ranges(), PLACEMENT)
    start = part._starts[LARYNX]
    assert part.mean[start:] == pytest.approx(alone.mean[start:]) and part.scale[start:] == pytest.approx(alone.scale[start:])
    assert np.linalg.eigvalsh(part.correlation).min() > 0


def test_it_is_stored_and_comes_back_and_draws_the_same():
    again = RegionLaw.from_arrays(law().arrays(), STRUCTURES, ranges(), PLACEMENT)
    for name, code in again.drawn(FINE, {}, None, np.random.default_rng(0)).items():
        assert code == pytest.approx(drawn()[name], abs=0.02)


def test_shares_lie_where_the_structures_are():
    codes = drawn(frame=FRAME)
    shares = law().shares(codes, FRAME, CLASSES)
    assert set(shares) == {CLASSES.index(name) for name in STRUCTURES}
    for name, code in codes.items():
        _, share = shares[CLASSES.index(name)]
        assert (share >= 0).all() and (share <= 1).all() and share.max() > 0.8
        assert share.sum() * FRAME.voxel_ml == pytest.approx(law().measured(name, code, FRAME).volume_ml, rel=0.35)
