"""From a spec to its requests: what is varied reaches the sketch and the words, and is the same every time."""

import json

import numpy as np
import pytest

from fake_backend import circle, make_bundle
from sketch2ct import bundle
from sketch2ct.cohort.plan import Planner
from sketch2ct.cohort.spec import CohortSpec, Source, Vary, parse
from sketch2ct.cohort.variation import Draw, carried, draw, mirror, mirrored_grid, placed
from sketch2ct.cohort.wording import restated, swapped_sides
from sketch2ct.data.nnunet import Dataset
from sketch2ct.describe import FACTS, Ranges, measure, read
from sketch2ct.errors import BadRequest
from sketch2ct.framing import bundle_frame
from sketch2ct.geometry import Grid, Plane
from sketch2ct.imaging import LabelVolume, write_nifti
from sketch2ct.quality import readout
from sketch2ct.request import GenerationRequest

SIDED = ["brainstem", "mandible", "parotid_gland_left", "parotid_gland_right"]
PLACES = {"parotid_gland_left": [-58.0, 0, 50], "parotid_gland_right": [58.0, 0, 50], "mandible": [0, 40, 30], "brainstem": [0, -20, 80]}


@pytest.fixture(scope="module")
def metadata(tmp_path_factory):
    middle = {
        "volume_ml": 30.0,
        "tilt_deg": 40.0,
        "elongation": 0.5,
        "flatness": 0.3,
        "sphericity": 0.6,
        "smoothness": 0.8,
        "symmetry": 0.7,
    }
    spread = {fact: (middle.get(fact, 45.0) * np.linspace(0.6, 1.4, 21)).tolist() for fact in FACTS}
    ranges = {name: spread for name in SIDED}
    folder = make_bundle(tmp_path_factory.mktemp("shelf"), structures=SIDED, placement=PLACES, ranges=ranges)
    return bundle.load(str(folder)).metadata


@pytest.fixture
def planner(tmp_path, metadata):
    """A planner of a base request, or of the source among the given keys."""

    def build(base=None, **keys):
        if base is not None:
            base.write(tmp_path / "base.json")
            keys["request"] = "base.json"
        return Planner(parse(keys, tmp_path), metadata)

    return build


def parotid(side="left", x=-61.0, **fields):
    sketch = circle(14, (x, 5, 40), "sagittal", structure=f"parotid_gland_{side}")
    return GenerationRequest([sketch], f"A {side} parotid gland of 30 mL, 40 mm tall", seed=5, **fields)


def centre(sketch):
    points = sketch.points()
    return (points.min(axis=0) + points.max(axis=0)) / 2


def extent(sketch):
    return np.ptp(sketch.points(), axis=0)


def test_a_plan_is_a_function_of_spec_and_number(planner):
    keys = {"count": 6, "vary": {"volume": [0.7, 1.4], "hand": [0.5, 2], "side": 0.5, "wording": True, "shift_mm": 3}, "seed": 3}
    first, second = planner(parotid(), **keys), planner(parotid(), **keys)
    forward = [(first.case(n).request.to_dict(), first.case(n).facts) for n in range(1, 7)]
    backward = [(second.case(n).request.to_dict(), second.case(n).facts) for n in range(6, 0, -1)]
    assert json.dumps(forward) == json.dumps(backward[::-1])
    assert len({json.dumps(request) for request, _ in forward}) == 6
    assert len({request["seed"] for request, _ in forward}) == 6
    other = planner(parotid(), **{**keys, "seed": 4})
    assert other.case(1).request.seed != first.case(1).request.seed
    assert other.case(1).facts["drawn"] != first.case(1).facts["drawn"]


def test_varying_one_thing_more_leaves_the_others_as_they_were(planner):
    one = planner(parotid(), count=4, vary={"volume": [0.5, 2]})
    two = planner(parotid(), count=4, vary={"volume": [0.5, 2], "rotate_deg": 4, "side": 0.5})
    for number in range(1, 5):
        a, b = one.case(number), two.case(number)
        assert a.facts["drawn"]["volume_factor"] == b.facts["drawn"]["volume_factor"]
        assert a.request.seed == b.request.seed


def test_without_variation_a_case_is_its_base_with_a_seed_of_its_own(planner):
    base = parotid(steps=4, device="cpu")
    made = planner(base, count=2).case(2)
    assert made.request.seed != base.seed
    given, now = base.to_dict(), made.request.to_dict()
    np.testing.assert_allclose(now["sketches"][0].pop("strokes"), given["sketches"][0].pop("strokes"), atol=0.0051)
    assert {**now, "seed": 5} == given
    assert made.facts == {
        **{"version": 1, "case": "case-00002", "group": "g0001", "source": "base.json"},
        **{"structure": "parotid_gland_left", "drawn": {}},
    }


def test_the_specs_settings_win_over_the_base_requests(planner):
    made = planner(parotid(steps=4, device="cuda"), count=1, mask_only=True, steps=9, guidance=2.5, device="cpu").case(1).request
    assert (made.volume_generator, made.steps, made.guidance, made.device, made.samples) == ("none", 9, 2.5, "cpu", 1)


def test_a_volume_factor_reaches_the_words_and_the_sketch(planner):
    base = parotid()
    plan = planner(base, count=8, vary={"volume": [0.5, 2.0]})
    factors = []
    for number in range(1, 9):
        made = plan.case(number)
        factor = made.facts["drawn"]["volume_factor"]
        factors.append(factor)
        values = read(made.request.description).values
        assert values["volume_ml"] == pytest.approx(30 * factor, rel=0.01)
        assert values["extent_cc_mm"] == pytest.approx(40 * factor ** (1 / 3), rel=0.01)
        sketch = made.request.sketches[0]
        assert extent(sketch)[1:] == pytest.approx(extent(base.sketches[0])[1:] * factor ** (1 / 3), abs=0.05)
        assert centre(sketch) == pytest.approx(centre(base.sketches[0]), abs=0.02)
    assert 0.5 <= min(factors) < 0.8 and 1.3 < max(factors) <= 2.0


def test_an_elongation_stretches_the_longest_axis_and_keeps_the_volume(planner):
    plane = Plane.named("axial", (5, 20, 30))
    angle = np.linspace(0, 2 * np.pi, 80)
    oval = circle(1)
    oval = type(oval)("mandible", plane, [plane.to_ras(np.stack([30 * np.cos(angle), 12 * np.sin(angle)], axis=1))])
    made = planner(GenerationRequest([oval], "60 mL"), count=3, vary={"elongation": [1.3, 1.3]}).case(3)
    assert extent(made.request.sketches[0])[:2] == pytest.approx(np.array([60 * 1.3, 24 / 1.3**0.5]), abs=0.1)
    assert read(made.request.description).values["volume_ml"] == 60
    matrix = placed(Draw(volume=1.7, elongation=1.3), [oval], 0.0)
    assert np.linalg.det(matrix[:3, :3]) == pytest.approx(1.7)


def test_mirroring_swaps_the_sides_truly(planner, metadata):
    base = parotid("left", x=-61.0)
    made = planner(base, count=1, vary={"side": 1}).case(1)
    sketch = made.request.sketches[0]
    assert sketch.structure == "parotid_gland_right" and made.facts["structure"] == "parotid_gland_right"
    assert made.facts["drawn"] == {"mirrored": True}
    assert made.request.description == "A right parotid gland of 30 mL, 40 mm tall"
    midline = bundle_frame(base, metadata).centre[0]
    assert midline == pytest.approx(-3.0)
    original = base.sketches[0].points() * [-1, 1, 1] + [2 * midline, 0, 0]
    np.testing.assert_allclose(sketch.points(), original, atol=0.0051)
    assert centre(sketch)[0] == pytest.approx(55.0, abs=0.01)  # R is +: the right side
    assert sketch.plane.orientation == "sagittal"
    np.testing.assert_allclose(bundle_frame(made.request, metadata).affine, bundle_frame(base, metadata).affine, atol=0.02)
    assert planner(base, count=1, vary={"side": 0}).case(1).request.sketches[0].structure == "parotid_gland_left"


def test_half_a_chance_mirrors_about_half(planner):
    plan = planner(parotid(), count=60, vary={"side": 0.5})
    mirrored = [plan.case(n).facts["drawn"]["mirrored"] for n in range(1, 61)]
    assert 18 <= sum(mirrored) <= 42


def test_a_grid_is_mirrored_with_its_content():
    upright = Grid.centred((30, 5, -7), (2, 3, 4), (20, 22, 24))
    assert mirrored_grid(upright) is upright
    turned = upright.affine.copy()
    turned[:3, :3] = np.array([[0.96, -0.28, 0], [0.28, 0.96, 0], [0, 0, 1]]) @ turned[:3, :3]
    oblique = Grid(upright.shape, turned)
    image = mirrored_grid(oblique)
    assert np.sign(np.linalg.det(image.affine[:3, :3])) == np.sign(np.linalg.det(oblique.affine[:3, :3]))
    flip = mirror(float(oblique.centre[0]))
    np.testing.assert_allclose(image.to_ras([19 - 3, 4, 5]), flip[:3, :3] @ oblique.to_ras([3, 4, 5]) + flip[:3, 3], atol=1e-9)


def test_what_has_no_other_side_is_not_mirrored(planner, metadata):
    assert planner(structures=["mandible"], count=1, vary={"side": 1}).case(1).facts["drawn"] == {"mirrored": True}
    alone = {**metadata, "structures": ["mandible", "parotid_gland_left"]}
    assert Planner(planner(structures=["parotid_gland_left"], vary={"side": 1}).spec, alone).case(1).facts["drawn"] == {"mirrored": False}
    aside = {**metadata, "structures": ["liver"], "placement": {"liver": [60, 0, 0]}, "ranges": {"liver": metadata["ranges"]["mandible"]}}
    liver = CohortSpec(Source("structures", structures=("liver",)), vary=Vary(side=1.0))
    assert Planner(liver, aside).case(1).facts["drawn"] == {"mirrored": False}


def test_a_shift_moves_the_sketch_within_the_frame_of_before(planner, metadata):
    base = parotid()
    made = planner(base, count=1, vary={"shift_mm": 6}).case(1)
    shift = made.facts["drawn"]["shift_mm"]
    assert 0.5 < np.abs(shift).max() <= 6
    assert centre(made.request.sketches[0]) - centre(base.sketches[0]) == pytest.approx(shift, abs=0.02)
    assert made.request.grid is not None and made.request.grid.matches(bundle_frame(base, metadata))


def test_a_turn_turns_in_the_plane_of_the_sketch():
    sketch = circle(20, (3, 4, 5))
    other = circle(10, (3, 9, 5), "sagittal", structure="brainstem")
    matrix = placed(Draw(rotate_deg=10), [sketch, other], 0.0)
    turned, aside = carried(sketch, matrix, "mandible"), carried(other, matrix, "brainstem")
    np.testing.assert_allclose(turned.plane.matrix[:3, :3], sketch.plane.matrix[:3, :3])
    assert np.degrees(np.arccos(abs(aside.plane.normal @ other.plane.normal))) == pytest.approx(10, abs=1e-6)
    for item in (turned, aside):
        assert np.abs(item.plane.to_plane(item.points())[:, 2]).max() < 1e-6
    centre_of_turn = (
        np.concatenate([sketch.points(), other.points()]).min(0) + np.concatenate([sketch.points(), other.points()]).max(0)
    ) / 2
    first = sketch.strokes[0][0] - centre_of_turn
    moved = turned.strokes[0][0] - centre_of_turn
    angle = np.degrees(np.arctan2(first[0] * moved[1] - first[1] * moved[0], first[0] * moved[0] + first[1] * moved[1]))
    assert angle == pytest.approx(10, abs=1e-6)  # counterclockwise, seen against the normal (superior)


def test_a_mirrored_oblique_plane_still_holds_its_strokes():
    tilt = np.eye(4)
    c, s = np.cos(0.4), np.sin(0.4)
    tilt[:3, :3] = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    plane = Plane(tilt @ np.diag([-1.0, 1, 1, 1]))
    ring = np.stack([15 * np.cos(np.linspace(0, 6, 40)), 9 * np.sin(np.linspace(0, 6, 40))], axis=1)
    sketch = type(circle(1))("mandible", plane, [plane.to_ras(ring)])
    image = carried(sketch, mirror(4.0), "mandible")
    assert np.abs(image.plane.to_plane(image.points())[:, 2]).max() < 1e-9
    np.testing.assert_allclose(image.points()[:, 0], 8.0 - sketch.points()[:, 0])
    assert np.linalg.det(image.plane.matrix[:3, :3]) == pytest.approx(np.linalg.det(plane.matrix[:3, :3]))


def test_a_hand_makes_the_strokes_waver(planner):
    base = parotid()
    calm = planner(base, count=1, vary={"hand": [0, 0]}).case(1).request.sketches[0]
    hasty = planner(base, count=1, vary={"hand": [3, 3]}).case(1).request.sketches[0]
    off = [np.abs(np.linalg.norm(s.plane.to_plane(s.points())[:, :2], axis=1) - 14) for s in (calm, hasty)]
    assert off[0].max() < 0.2 < 0.8 < off[1].max() < 12


@pytest.mark.parametrize(
    ("text", "swapped"),
    [
        ("A large left parotid gland.", "A large right parotid gland."),
        ("LEFT parotid; Right-sided", "RIGHT parotid; Left-sided"),
        ("L parotid, 30 mL, 0.3 L of it", "R parotid, 30 mL, 0.3 L of it"),
        ("parotid_l and parotid_gland_right", "parotid_r and parotid_gland_left"),
        ("40 mm left to right, 40 mm LR, right-left", "40 mm left to right, 40 mm LR, right-left"),
        ("a bright, aleft thing", "a bright, aleft thing"),
    ],
)
def test_words_change_sides(text, swapped):
    assert swapped_sides(text) == swapped
    assert swapped_sides(swapped) == text


def test_stated_numbers_are_scaled_where_they_stand():
    text = "A smooth mandible, about 55 mL, 105 mm wide, 7.8 cm deep and 60 to 80 mm tall, tilted 20 degrees, 3 years old."
    assert restated(text, Draw()) == text
    made = restated(text, Draw(volume=8.0))
    assert made == "A smooth mandible, about 440 mL, 210 mm wide, 15.6 cm deep and 120 to 160 mm tall, tilted 20 degrees, 3 years old."
    values = read(restated("1,200 mm3 and 12 cm^3, 40 x 30 x 20 mm", Draw(volume=8.0))).values
    assert values["volume_ml"] == pytest.approx(96)
    assert [values[f"extent_{axis}_mm"] for axis in ("lr", "ap", "cc")] == pytest.approx([80, 60, 40])


def test_a_free_wording_of_a_base_says_only_what_the_base_said(planner):
    plan = planner(parotid(), count=12, vary={"wording": True, "volume": [1.5, 1.5]})
    texts = [plan.case(n).request.description for n in range(1, 13)]
    assert len(set(texts)) > 6
    for text in texts:
        reading = read(text)
        assert reading.values["volume_ml"] == pytest.approx(45, rel=0.12)  # people round
        assert set(reading.values) | set(reading.levels) <= {"volume_ml", "extent_cc_mm"}
        assert "parotid" in text.lower()


def test_every_mask_of_a_data_set_is_a_base(planner, toy_root):
    plan = planner(dataset={"path": str(toy_root), "split": "Va"}, per_source=2)
    assert plan.sources == [
        *("toy_07/brainstem", "toy_07/mandible", "toy_08/brainstem", "toy_08/mandible", "toy_09/brainstem"),
    ]
    assert plan.total == 10
    cases = [plan.case(n).facts for n in range(1, 11)]
    assert [case["source"] for case in cases] == plan.sources * 2
    groups = {case["source"].split("/")[0]: case["group"] for case in cases}
    assert len(set(groups.values())) == 3 and all(groups[case["source"].split("/")[0]] == case["group"] for case in cases)
    some = planner(dataset={"path": str(toy_root), "split": "Va", "structures": ["mandible"], "cases": 1}, count=3)
    assert some.sources == ["toy_07/mandible"] and some.total == 3


@pytest.mark.parametrize("factor", [1.0, 1.8])
def test_a_data_sets_sketch_lies_on_its_mask(planner, toy_root, metadata, factor):
    plan = planner(dataset={"path": str(toy_root)}, count=2, vary={"volume": [factor, factor]})
    for number in (1, 2):
        made = plan.case(number)
        case, name = made.facts["source"].split("/")
        labels = Dataset(toy_root).labels(case)
        # The scan's own map, enlarged about the middle of the drawing as the case is.
        middle, size = centre(made.request.sketches[0]), factor ** (1 / 3)
        affine = labels.grid.affine.copy()
        affine[:3, :3] *= size
        affine[:3, 3] = middle + size * (labels.grid.affine[:3, 3] - middle)
        enlarged = LabelVolume(labels.array, Grid(labels.grid.shape, affine), labels.names)
        agreement = readout(enlarged, None, made.request, metadata, made=(name,))["sketches"][0]
        assert agreement["dice"] > 0.97 and agreement["contour_distance_95_mm"] < 1.5
        truth = measure(labels.mask(name), labels.grid.affine)
        assert read(made.request.description).values["volume_ml"] == pytest.approx(truth.volume_ml * factor, rel=0.05)


def test_a_mirrored_mask_is_described_on_its_other_side(planner, tmp_path):
    grid = Grid.centred((0, 0, 0), (3, 3, 3), (64, 48, 40))
    mask = (((grid.voxel_centres() - [-50, 0, 10]) / [12, 15, 21]) ** 2).sum(-1) <= 1
    write_nifti(tmp_path / "scan.nii.gz", mask.astype(np.uint8) * 4, grid)
    (tmp_path / "scan.json").write_text('{"4": "left parotid"}')
    plan = planner(dataset={"labels": "scan.nii.gz"}, count=1, vary={"side": 1})
    made = plan.case(1)
    assert plan.sources == ["scan.nii.gz/parotid_gland_left"]
    assert made.request.structures() == ["parotid_gland_right"] and "right parotid gland" in made.request.description
    assert "left" not in made.request.description
    frame = bundle_frame(made.request, plan._metadata)
    assert centre(made.request.sketches[0])[0] - frame.centre[0] == pytest.approx(58, abs=0.1)


def test_sampled_cases_state_facts_within_the_training_ranges(planner, metadata):
    plan = planner(structures=["mandible", "brainstem"], per_source=15)
    ranges = Ranges.from_dict(metadata["ranges"]["mandible"])
    volumes, heights = [], []
    for number in range(1, 31):
        made = plan.case(number)
        assert made.facts["structure"] == ["mandible", "brainstem"][(number - 1) % 2]
        assert made.facts["structure"] in made.request.description.lower() and made.request.sketches == []
        assert made.facts["group"] == f"g{number:04d}" and made.facts["source"] == "sampled"
        values = read(made.request.description).values
        volumes.append(values["volume_ml"])
        heights.append(values["extent_cc_mm"])
    assert ranges.value_at("volume_ml", 5) - 0.5 <= min(volumes) < 26 and 34 < max(volumes) <= ranges.value_at("volume_ml", 95) + 0.5
    assert np.corrcoef(volumes, heights)[0, 1] > 0.6  # a large organ is tall


def test_sampled_facts_are_scaled_and_worded_freely(planner):
    plain, larger = planner(structures=["mandible"], count=9), planner(structures=["mandible"], count=9, vary={"volume": [2, 2]})
    free = planner(structures=["mandible"], count=9, vary={"volume": [2, 2], "wording": True})
    for number in range(1, 10):
        a, b, c = (read(plan.case(number).request.description).values for plan in (plain, larger, free))
        assert b["volume_ml"] == pytest.approx(2 * a["volume_ml"], rel=0.04)
        assert b["extent_lr_mm"] == pytest.approx(2 ** (1 / 3) * a["extent_lr_mm"], abs=1.2)
        assert c["volume_ml"] == pytest.approx(b["volume_ml"], rel=0.1)
    assert len({free.case(n).request.description.split()[0] for n in range(1, 10)}) > 2


def test_a_factor_is_as_often_below_one_as_above():
    factors = np.array([draw(Vary(volume=(0.5, 2.0)), 1, number, may_mirror=True).volume for number in range(400)])
    assert 0.42 < (factors < 1).mean() < 0.58


@pytest.mark.parametrize(
    ("base", "keys", "words"),
    [
        (GenerationRequest([], "a large mandible"), {"vary": {"volume": [1, 2]}}, "no sketch and states no volume"),
        (GenerationRequest([], "a mandible"), {"vary": {"side": 0.5}}, "nothing to mirror"),
        (parotid(context="map.nii.gz"), {"vary": {"side": 0.5}}, "keeps a context"),
        (GenerationRequest([], "", context="map.nii.gz", mask_generator="none"), {}, "brings its mask"),
        (parotid(), {"bundle": "headneck", "count": 99_999, "vary": {"side": 1}}, None),
        (None, {"structures": ["larynx"]}, "cannot make the larynx. It makes: brainstem, mandible"),
    ],
)
def test_what_cannot_be_planned_is_refused_at_once(planner, base, keys, words):
    if words is None:
        assert planner(base, **keys).total == 99_999
        return
    with pytest.raises(BadRequest) as caught:
        planner(base, **keys)
    assert words in str(caught.value)


def test_too_many_cases_are_refused(planner, toy_root):
    with pytest.raises(BadRequest, match=r"asks for 1100000 cases|asks for \d+ cases; the limit is 99999"):
        planner(dataset={"path": str(toy_root)}, per_source=99_999)


def test_a_label_map_without_what_the_spec_names_is_refused(planner, tmp_path):
    grid = Grid.centred((0, 0, 0), (3, 3, 3), (20, 20, 20))
    array = np.zeros(grid.shape, np.uint8)
    array[5:15, 5:15, 5:15] = 1
    write_nifti(tmp_path / "scan.nii.gz", array, grid)
    (tmp_path / "scan.json").write_text('{"1": "mandible"}')
    with pytest.raises(BadRequest, match="holds no voxel of 'brainstem'"):
        planner(dataset={"labels": "scan.nii.gz", "structures": ["brainstem"]})
    (tmp_path / "scan.json").write_text('{"1": "liver"}')
    with pytest.raises(BadRequest, match="holds nothing that the bundle"):
        planner(dataset={"labels": "scan.nii.gz"})
