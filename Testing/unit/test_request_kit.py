"""Conditions, obedience and diversity with a stand-in for the generator whose answers are known."""

import math

import numpy as np
import pytest
import torch

from sketch2ct import describe
from sketch2ct.describe.words import SCALES
from sketch2ct.errors import BadRequest
from sketch2ct.evaluation import case, conditions, diversity, metrics, obedience, parts
from sketch2ct.geometry import Grid, inside, outlines
from sketch2ct.imaging import LabelVolume

GRID = Grid.centred((0, 0, 0), (2, 2, 2.5), (70, 60, 60))
RADII = np.array([16.0, 11.0, 24.0])


def ellipsoid(radii=RADII, centre=(0, 0, 0), grid=GRID):
    return ((((grid.voxel_centres() - centre) / radii) ** 2).sum(-1)) <= 1


@pytest.fixture(scope="module")
def ranges():
    rng = np.random.default_rng(0)
    masks = [ellipsoid(RADII * rng.uniform(0.8, 1.2) * rng.uniform(0.9, 1.1, 3)) for _ in range(25)]
    return describe.Ranges.fit([describe.measure(mask, GRID.affine) for mask in masks])


def question(mask):
    return case.ask("case_99", "brainstem", mask, GRID, describe.Ranges.fit([describe.measure(mask, GRID.affine)]), 0)


class Moulder:
    """Extrudes the sketches; from words an ellipsoid of the asked extents, `beside` (mm) the middle of the grid.

    Its size varies with the noise by `spread`; what it was given is kept in `asked`.
    """

    def __init__(self, ranges=None, beside=(0, 0, 0), spread=0.0, deaf=()):
        self.ranges, self.beside, self.spread, self.deaf = ranges, np.asarray(beside), spread, deaf
        self.asked = []

    def generate(self, condition, rng, progress):
        self.asked.append(condition)
        ras = condition.grid.voxel_centres()
        size = 1 + self.spread * (float(torch.rand(1, generator=rng)) - 0.5)
        if condition.sketches:
            mask = np.ones(condition.grid.shape, bool)
            for sketch in condition.sketches:
                uvw = sketch.plane.to_plane(ras.reshape(-1, 3))
                polygons = outlines([sketch.plane.to_plane(s)[:, :2] for s in sketch.strokes])
                deep = np.abs(uvw[:, 2]) < size * 12
                filled = np.zeros(len(uvw), bool)
                filled[deep] = inside(polygons, uvw[deep, :2])
                mask &= filled.reshape(mask.shape)
        else:
            mask = ellipsoid(size * self._radii(condition.description), condition.grid.centre + self.beside, condition.grid)
        return LabelVolume(mask.astype(np.uint8), condition.grid, {1: condition.structures[0]})

    def _radii(self, text):
        if self.ranges is None:
            return RADII
        said = describe.read(text)
        facts = {fact: self.ranges.value_at(fact, level) for fact, level in said.levels.items()} | said.values
        facts = {fact: value for fact, value in facts.items() if fact not in self.deaf}
        names = ("extent_lr_mm", "extent_ap_mm", "extent_cc_mm")
        radii = np.array([facts.get(name, self.ranges.value_at(name, 50)) for name in names]) / 2
        return radii * (facts["volume_ml"] * 750 / (math.pi * radii.prod())) ** (1 / 3) if "volume_ml" in facts else radii


def test_parts_are_named_in_any_order_and_bring_what_they_need():
    assert parts.chosen(None) == ("masks", "probes", "ct", "realism", "plausibility", "neighbours")
    assert parts.chosen("diversity, CT") == ("ct", "diversity")
    assert parts.chosen("conditions") == ("masks", "conditions")
    assert parts.chosen("ct,all") == parts.PARTS
    for wrong in ("masks,tables", " , "):
        with pytest.raises(BadRequest, match="masks, probes"):
            parts.chosen(wrong)


def test_spread_is_the_mean_pairwise_dice_and_the_relative_deviation():
    a, b = np.zeros((8, 4, 4), bool), np.zeros((8, 4, 4), bool)
    a[:4], b[2:6] = True, True
    found = diversity.spread([a, a, b], [8, 10, 12])
    assert found["pairwise_dice"] == pytest.approx((1 + 0.5 + 0.5) / 3)
    assert found["volume_cv"] == pytest.approx(2 / 10)
    assert np.isnan(diversity.spread([a], [8])["volume_cv"])


def test_a_generator_without_chance_has_no_diversity_and_patients_have():
    questions = [question(ellipsoid(RADII * size)) for size in (0.8, 1.2)]
    fixed, varied = (diversity.summarise(measured, 0) for measured in (_diversity(questions, s) for s in (0.0, 0.6)))
    for request in ("sketch_and_text", "sketch_only", "name_only"):
        assert fixed[request]["overall"]["pairwise_dice"]["mean"] == 1 and fixed[request]["overall"]["volume_cv"]["mean"] == 0
        assert varied[request]["overall"]["pairwise_dice"]["mean"] < 0.95 and varied[request]["brainstem"]["volume_cv"]["mean"] > 0.05
    volumes = [q.mask.sum() for q in questions]
    assert fixed["patients"]["brainstem"]["volume_cv"]["mean"] == pytest.approx(np.std(volumes, ddof=1) / np.mean(volumes), abs=1e-3)
    inner = 2 * 0.8**3 / (0.8**3 + 1.2**3)
    assert fixed["patients"]["overall"]["pairwise_dice"]["mean"] == pytest.approx(inner, abs=0.03)


def _diversity(questions, chance):
    generator = Moulder(spread=chance)
    found = diversity.of_sketches(questions, generator, 0, 3)
    texts = {condition.description for condition in generator.asked}
    assert texts == {"", *(q.description for q in questions)}
    return found + diversity.of_names(generator, ["brainstem"], GRID, 0, 4) + diversity.of_patients(questions)


def test_every_condition_asks_for_what_its_name_says():
    q = question(ellipsoid((14, 12, 24), (10, 5, -4)))
    asked = conditions.requests(q, 0)
    assert tuple(asked) == conditions.CONDITIONS
    planes = {name: [sketch.plane.orientation for sketch in way.sketches] for name, way in asked.items()}
    assert q.sketch.plane.orientation == "coronal"  # 14 x 24 mm is the largest section
    assert planes["axial"] == ["axial"] and planes["non_axial"] == ["coronal"] and planes["text_only"] == []
    assert planes["two_sketches"] == ["coronal", "sagittal"]
    assert {name for name, way in asked.items() if way.text != q.description} == {"sketch_only"} and asked["sketch_only"].text == ""
    exact = metrics.plane_dice(q.mask, q.mask, q.grid, q.sketch)[1]
    waver = [metrics.plane_dice(q.mask, q.mask, q.grid, asked[f"hand_{n}"].sketches[0])[1] for n in (1, 2, 3)]
    assert exact > waver[0] > waver[1] > waver[2] > 0.7


def test_a_section_too_small_to_draw_is_left_out():
    thin = np.zeros(GRID.shape, bool)
    thin[35, 30, 10:40] = True  # a rod along z: its axial section is one voxel
    thin[35, 31, 10:40] = True
    asked = conditions.requests(question(thin), 0)
    assert "axial" not in asked and "non_axial" in asked


def test_words_alone_are_judged_by_shape_wherever_the_mask_comes_out():
    truth = ellipsoid(RADII, (40, -30, -25))
    q = question(truth)
    ranges = {"brainstem": describe.Ranges.fit([describe.measure(truth, GRID.affine)])}
    metadata = {"placement": {"brainstem": [0.0, -20.0, 90.0]}}  # outside the grid, which reaches to 75 mm
    found = conditions.measure([q], Moulder(beside=(0, -20, 90)), ranges, metadata, 0, 0.0)
    (alone,) = found["text_only"]
    assert alone.plane == "none" and alone.values["dice_3d"] > 0.93 and alone.values["volume_error"] < 0.03
    assert alone.values["dice_plane"] > 0.9
    assert set(found) == set(conditions.CONDITIONS) and all(len(records) == 1 for records in found.values())


def test_gains_are_differences_of_the_same_patients():
    q = question(ellipsoid())
    reference, _ = case.answer(q, Moulder(), {}, 0, 0)
    found = conditions.measure([q], Moulder(), {"brainstem": describe.Ranges.fit([describe.measure(q.mask, GRID.affine)])}, {}, 0, 0.0)
    made = conditions.summarise(found, [reference], 0)
    two = made["two_sketches"]["brainstem"]
    assert two["dice_3d_gain"]["mean"] == pytest.approx(two["dice_3d"]["mean"] - reference.values["dice_3d"], abs=2e-4)
    assert two["dice_3d_gain"]["mean"] > 0.02  # two crossing sections bound an ellipsoid better than one does
    assert made["sketch_only"]["mean_of_five"]["dice_3d_gain"]["mean"] == 0  # the stand-in does not read beside a sketch
    assert set(two) == {*case.METRICS, "dice_3d_gain"}


def test_every_word_of_degree_is_asked_for_and_understood(ranges):
    upright = obedience.texts("brainstem", ranges)
    leaning = obedience.texts("brainstem", describe.Ranges({**ranges.percentiles, "tilt_deg": list(np.linspace(0, 60, 21))}))
    items = [*upright, *(item for item in leaning if item["fact"] == "tilt_deg")]
    used = {word for fact in SCALES for pair in obedience.word_pairs(fact) for word in pair}
    scales = SCALES.values()
    assert used == {word for s in scales for group in (s.low, s.high, s.lowest, s.highest) for word in group}
    for item in items:
        read = [describe.read(text) for text in item["texts"]]
        said = [r.values if item["kind"] == "number" else r.levels for r in read]
        assert all(list(s) == [item["fact"]] for s in said), item["texts"]
        if item["kind"] == "word":
            assert [s[item["fact"]] for s in said] in ([12.5, 87.5], [2.5, 97.5])
    assert {item["fact"] for item in items if item["kind"] == "number"} == set(obedience.NUMBERS)


def test_the_ruler_covers_the_frame_in_fine_voxels():
    affine = np.diag([-4.0, 4.0, 3.0, 1.0])
    affine[:3, 3] = (10, -20, 30)
    frame = Grid((11, 8, 9), affine)
    fine = obedience.ruler(frame)
    np.testing.assert_allclose(fine.spacing, (2, 2, 1.5))
    np.testing.assert_allclose(fine.spacing * fine.shape, frame.spacing * frame.shape)
    np.testing.assert_allclose(fine.to_ras((-0.5, -0.5, -0.5)), frame.to_ras((-0.5, -0.5, -0.5)))
    assert obedience.ruler(fine).matches(fine)


def test_obedience_tells_what_is_followed_from_what_is_not(ranges):
    frame = Grid.centred((0, 0, 0), (2, 2, 2), (60, 60, 60))
    moulder = Moulder(ranges, deaf=("extent_ap_mm",))
    found = obedience.measure(moulder, ["brainstem"], {"brainstem": ranges}, frame, 0, 1)
    made = obedience.summarise(found, 0)
    for fact in ("volume_ml", "extent_lr_mm", "extent_cc_mm"):
        for kind in ("words", "numbers"):
            entry = made[kind]["by_fact"][fact]
            assert entry["followed"]["mean"] == 1 and entry["side"]["mean"] == 1, (fact, kind)
            assert entry["moved"]["mean"] == pytest.approx(1, abs=0.35), (fact, kind)
    deaf = made["words"]["by_fact"]["extent_ap_mm"]
    assert deaf["followed"]["mean"] == 0 and deaf["moved"]["mean"] == 0 and deaf["side"]["mean"] < 1
    assert made["words"]["by_fact"]["smoothness"]["followed"]["mean"] == 0
    shares = obedience.shares(found)
    assert made["share_followed"]["n"] == len(shares)
    assert made["share_followed"]["mean"] == pytest.approx(np.mean(list(shares.values())), abs=1e-4)


def test_the_opposite_of_what_is_asked_and_nothing_at_all_are_not_obedience(ranges):
    class Contrary(Moulder):
        def _radii(self, text):
            return 40 - super()._radii(text)

    class Silent(Moulder):
        def generate(self, condition, rng, progress):
            return LabelVolume(np.zeros(condition.grid.shape, np.uint8), condition.grid, {1: "brainstem"})

    frame = Grid.centred((0, 0, 0), (2.5, 2.5, 2.5), (48, 48, 48))
    for generator in (Contrary(ranges), Silent()):
        found = obedience.measure(generator, ["brainstem"], {"brainstem": ranges}, frame, 0, 1)
        assert not any(item["followed"] for item in found if item["fact"] in ("volume_ml", "extent_lr_mm", "extent_cc_mm"))
    assert obedience.summarise(found, 0)["words"]["moved"]["mean"] is None
