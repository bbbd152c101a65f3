"""Masks to facts, facts to sentences, and sentences back."""

import subprocess
import sys
import time

import numpy as np
import pytest

from sketch2ct.describe import (
    FACTS,
    Facts,
    Ranges,
    band,
    canonical,
    describe,
    measure,
    read,
    vector_of,
    write,
)


def positions(shape, affine):
    index = np.indices(shape).reshape(3, -1).T
    return (index @ affine[:3, :3].T + affine[:3, 3]).reshape(*shape, 3)


def grid(spacing=(1, 1, 1), shape=(48, 48, 48)):
    affine = np.diag([*map(float, spacing), 1.0])
    affine[:3, 3] = -(np.array(shape) - 1) / 2 * np.array(spacing)
    return shape, affine


def ellipsoid(radii, spacing=(1, 1, 1), shape=(48, 48, 48), centre=(0, 0, 0)):
    shape, affine = grid(spacing, shape)
    return ((((positions(shape, affine) - centre) / radii) ** 2).sum(-1) <= 1), affine


def rod(tilt_deg, length=40.0, radius=4.0):
    shape, affine = grid(shape=(56, 56, 56))
    direction = np.array([np.sin(np.radians(tilt_deg)), 0, np.cos(np.radians(tilt_deg))])
    points = positions(shape, affine)
    along = points @ direction
    across = np.linalg.norm(points - along[..., None] * direction, axis=-1)
    return (np.abs(along) <= length / 2) & (across <= radius), affine


def made_up_cases(count=60, seed=3):
    rng = np.random.default_rng(seed)
    cases = []
    for _ in range(count):
        values = dict.fromkeys(FACTS, 0.0)
        values.update({fact: float(rng.lognormal(3.5, 0.4)) for fact in FACTS if fact.endswith("mm")})
        values.update({fact: float(rng.uniform(0.3, 0.95)) for fact in FACTS if not fact.endswith(("mm", "ml", "deg"))})
        volume, tilt = float(rng.lognormal(2.5, 1.5)), float(rng.uniform(0, 90))
        extra = {"components": 1, "centroid_ras": (1.0, 2.0, 3.0), "side": "left"}
        cases.append(Facts(**{**values, "volume_ml": volume, "tilt_deg": tilt, **extra}))
    return cases


@pytest.fixture(scope="module")
def cases():
    return made_up_cases()


@pytest.fixture(scope="module")
def ranges(cases):
    return Ranges.fit(cases)


def test_a_sphere_is_round_smooth_and_symmetric():
    mask, affine = ellipsoid((15, 15, 15))
    facts = measure(mask, affine)
    assert facts.volume_ml == pytest.approx(4 / 3 * np.pi * 15**3 / 1000, rel=0.02)
    assert 0.97 <= facts.sphericity <= 1
    assert facts.smoothness > 0.97
    assert facts.symmetry == pytest.approx(1)
    assert facts.elongation < 0.01 and facts.flatness < 0.01
    assert facts.components == 1 and facts.side == ""


def test_an_ellipsoid_has_its_extents_along_the_body_axes_whatever_the_voxel_size():
    mask, affine = ellipsoid((10, 16, 21), spacing=(0.8, 1.0, 2.5), shape=(40, 48, 32))
    facts = measure(mask, affine)
    assert (facts.extent_lr_mm, facts.extent_ap_mm, facts.extent_cc_mm) == pytest.approx((20, 32, 42), abs=2.5)
    assert facts.length_mm == pytest.approx(42, abs=2.5)
    assert facts.elongation == pytest.approx(1 - 16 / 21, abs=0.03)
    assert facts.flatness == pytest.approx(1 - 10 / 16, abs=0.03)
    assert facts.tilt_deg < 2


@pytest.mark.parametrize("tilt", [0, 25, 60, 90])
def test_a_rod_has_its_tilt_length_and_thickness(tilt):
    facts = measure(*rod(tilt))
    assert facts.tilt_deg == pytest.approx(tilt, abs=1)
    assert facts.length_mm == pytest.approx(40, abs=3)
    assert facts.centreline_mm == pytest.approx(40, abs=3)
    assert facts.thickness_mm == pytest.approx(8, rel=0.08)
    assert facts.elongation > 0.7


def test_an_arc_is_longer_along_its_centreline_than_along_its_main_axis():
    shape, affine = grid(shape=(64, 20, 64))
    x, y, z = np.moveaxis(positions(shape, affine), -1, 0)
    arc = (np.hypot(np.hypot(x, z + 12) - 24, y) <= 4) & (z > -12)
    facts = measure(arc, affine)
    assert facts.length_mm == pytest.approx(56, abs=3)
    assert facts.centreline_mm > 1.15 * facts.length_mm


def lumpy():
    big, affine = ellipsoid((9, 14, 18), centre=(-4, 2, 0))
    small, _ = ellipsoid((7, 5, 6), centre=(8, -6, 9))
    return big | small, affine


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
@pytest.mark.parametrize("flips", [(1, 1, 0), (0, 0, 1), (1, 0, 1)])
def test_storage_order_and_flips_do_not_change_the_facts(flips, order):
    mask, affine = lumpy()
    stored, storage = mask, affine.copy()
    for axis in np.flatnonzero(flips):
        stored = np.flip(stored, axis)
        storage[:3, 3] += storage[:3, axis] * (mask.shape[axis] - 1)
        storage[:3, axis] *= -1
    stored, storage = stored.transpose(order), storage[:, [*order, 3]]
    expected, found = measure(mask, affine, midline_x=20), measure(stored, storage, midline_x=20)
    assert found.side == expected.side == "left"
    for fact in FACTS:
        assert getattr(found, fact) == pytest.approx(getattr(expected, fact), rel=1e-3, abs=1e-3), fact
    assert found.centroid_ras == pytest.approx(expected.centroid_ras)


def test_an_oblique_grid_gives_nearly_the_same_facts():
    turn = np.radians(20)
    shape, straight = grid()
    oblique = np.eye(4)
    oblique[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    oblique[:3, 3] = oblique[:3, :3] @ straight[:3, 3]
    radii = np.array([8, 12, 20])
    expected = measure(*ellipsoid(radii))
    found = measure(((positions(shape, oblique) / radii) ** 2).sum(-1) <= 1, oblique)
    for fact in FACTS:
        assert getattr(found, fact) == pytest.approx(getattr(expected, fact), rel=0.05, abs=0.03 if "mm" not in fact else 1), fact


def test_bumps_lower_the_smoothness_and_the_sphericity():
    shape, affine = grid()
    points = positions(shape, affine)
    radius = np.linalg.norm(points, axis=-1)
    bumps = 2.5 * np.sin(points[..., 0] * 0.9) * np.sin(points[..., 1] * 0.9) * np.sin(points[..., 2] * 0.9 + 0.5)
    smooth, bumpy = measure(radius <= 16, affine), measure(radius <= 16 + bumps, affine)
    assert bumpy.smoothness < smooth.smoothness - 0.08
    assert bumpy.sphericity < smooth.sphericity - 0.08


def test_symmetry_is_the_overlap_with_the_mirror_image():
    shape, affine = grid(shape=(20, 20, 20))
    mask = np.zeros(shape, bool)
    mask[5:15, 5:10, 5:10] = True
    mask[10:15, 10:15, 5:10] = True
    facts = measure(mask, affine)
    assert 0.5 < facts.symmetry < 0.9


def test_pieces_that_touch_at_a_corner_are_one():
    mask = np.zeros((12, 12, 12), bool)
    mask[1:4, 1:4, 1:4] = mask[4:6, 4:6, 4:6] = True
    assert measure(mask, np.eye(4)).components == 1
    mask[8:10, 8:10, 8:10] = True
    assert measure(mask, np.eye(4)).components == 2


def test_x_grows_to_the_patients_right():
    mask, affine = ellipsoid((5, 5, 5), centre=(14, 0, 0))
    assert measure(mask, affine, midline_x=0).side == "right"
    assert measure(mask, affine, midline_x=30).side == "left"
    assert measure(mask, affine, midline_x=14).side == "midline"


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 9, 9), (1, 1, 30)])
def test_the_thinnest_masks_are_measured(shape):
    facts = measure(np.ones(shape, bool), np.diag([1.0, 1, 3, 1]))
    assert all(np.isfinite(getattr(facts, fact)) for fact in FACTS)
    assert facts.extent_cc_mm == pytest.approx(3 * shape[2])


def test_what_cannot_be_measured_is_refused():
    with pytest.raises(ValueError, match="mask is empty"):
        measure(np.zeros((4, 4, 4), bool), np.eye(4))
    with pytest.raises(ValueError, match="three axes"):
        measure(np.ones((4, 4), bool), np.eye(4))
    with pytest.raises(ValueError, match="invertible"):
        measure(np.ones((4, 4, 4), bool), np.zeros((4, 4)))


def test_facts_and_ranges_survive_json(cases, ranges):
    assert Facts.from_dict(cases[0].to_dict()) == cases[0]
    assert Ranges.from_dict(ranges.to_dict()) == ranges


def test_percentiles_and_their_values_are_inverse(ranges):
    for percent in (2.5, 40, 97.5):
        assert ranges.percentile("length_mm", ranges.value_at("length_mm", percent)) == pytest.approx(percent)
    assert ranges.percentile("length_mm", 1e9) == 100
    same = Ranges({fact: [1.0] * 21 for fact in FACTS})
    assert same.percentile("symmetry", 1.0) == 50


@pytest.mark.parametrize("style", ["numeric", "qualitative", "mixed"])
def test_what_is_written_is_read_back(cases, ranges, style):
    rng = np.random.default_rng(0)
    texts = set()
    for number in range(500):
        written = write(cases[number % len(cases)], "left parotid gland", ranges, rng, style=style, keep=rng.random())
        found = read(written.text)
        assert found.values == pytest.approx(written.values), written.text
        assert {f: band(x) for f, x in found.levels.items()} == {f: band(x) for f, x in written.levels.items()}, written.text
        assert written.values or written.levels
        texts.add(written.text)
    assert len(texts) > 250


def test_printed_numbers_and_words_are_true(cases, ranges):
    rng = np.random.default_rng(1)
    for case in cases:
        written = write(case, "larynx", ranges, rng, keep=0.9)
        for fact, value in written.values.items():
            assert value == pytest.approx(getattr(case, fact), rel=0.1, abs=0.51), written.text
        for fact, level in written.levels.items():
            assert band(level) == band(ranges.percentile(fact, getattr(case, fact))), written.text


def test_the_full_text_is_fixed_short_and_read_back(cases, ranges):
    for case in cases:
        text = canonical(case, "larynx", ranges)
        assert text == describe(case, "larynx", ranges, np.random.default_rng(), full=True)
        assert len(text.split()) <= 62
        found = read(text)
        assert {"volume_ml", "extent_lr_mm", "extent_ap_mm", "extent_cc_mm", "length_mm"} <= set(found.values)
        assert {"elongation", "flatness", "smoothness"} <= set(found.levels)
        assert found.values["extent_ap_mm"] == pytest.approx(case.extent_ap_mm, abs=0.51)
        assert "left side" in text and "side" not in canonical(case, "left parotid gland", ranges)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("L parotid, 28 mL, 52 mm CC", {"volume_ml": 28, "extent_cc_mm": 52}),
        ("28cc; CC 52 mm LR 40 mm", {"volume_ml": 28, "extent_cc_mm": 52, "extent_lr_mm": 40}),
        ("52 mm CC 40 mm LR", {"extent_cc_mm": 52, "extent_lr_mm": 40}),
        ("a width of about 4,2 cm and a depth of 30 mm", {"extent_lr_mm": 42, "extent_ap_mm": 30}),
        ("1.25 L in volume", {"volume_ml": 1250}),
        ("1,250 cubic centimeters", {"volume_ml": 1250}),
        ("40 x 30 x 52 mm", {"extent_lr_mm": 40, "extent_ap_mm": 30, "extent_cc_mm": 52}),
        ("5 \u00d7 4 \u00d7 3 cm (CC x LR x AP)", {"extent_lr_mm": 40, "extent_ap_mm": 30, "extent_cc_mm": 50}),
        ("50-60 mm tall, tilted by 20°", {"extent_cc_mm": 55, "tilt_deg": 20}),
        ("centreline length of 120 mm, 12 mm in diameter", {"centreline_mm": 120, "thickness_mm": 12}),
        ("15 millimetres in the antero-posterior direction", {"extent_ap_mm": 15}),
        ("Volume: 28 CM³, length = 5 cm", {"volume_ml": 28, "length_mm": 50}),
        ("5 mm slices, 3 patients", {}),
        ("a tube of 12 mm wide", {"extent_lr_mm": 12}),
    ],
)
def test_free_quantities_are_understood(text, values):
    found = read(text)
    assert found.values == pytest.approx(values)
    assert not found.levels


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        ("a large, elongated left parotid with a smooth surface", {"volume_ml": 2, "elongation": 2, "smoothness": 2}),
        ("VERY small and not very smooth", {"volume_ml": -3, "smoothness": -1}),
        ("not large", {"volume_ml": -1}),
        ("not small", {"volume_ml": 1}),
        ("slightly longer than average, less round", {"length_mm": 1, "sphericity": -1}),
        ("large in width, short in height", {"extent_lr_mm": 2, "extent_cc_mm": -2}),
        ("of average length but of great depth", {"length_mm": 0, "extent_ap_mm": 2}),
        ("a medium-sized gland", {"volume_ml": 0}),
        ("the deep lobe and the long axis of the small bowel", {}),
        ("enlarged", {}),
    ],
)
def test_free_words_of_degree_are_understood(text, levels):
    assert {fact: band(level) for fact, level in read(text).levels.items()} == levels


def test_spans_mark_the_words_that_were_understood():
    text = "İ a very large gland, about 52 mm tall 😀"
    spans = read(text).spans
    assert [(text[start:end], fact) for start, end, fact in spans] == [
        ("very large", "volume_ml"),
        ("52 mm tall", "extent_cc_mm"),
    ]


HOSTILE = (
    "", "a" * 100_000, "1" * 100_000, "5 mm " * 20_000, "5mm x " * 20_000, "large " * 17_000, "very " * 20_000,
    " " * 100_000,     "1,1" * 33_000, "width of of of " * 7_000, "İ\u0301\u202e😀\0" * 20_000,
    "not too so large in " * 5_000, "-" * 100_000,
)  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:8] or "empty")
def test_any_text_is_read_at_once(text):
    read("warm up")
    start = time.process_time()
    found = read(text)
    assert time.process_time() - start < 0.1
    assert all(0 <= first < last <= len(text) for first, last, _ in found.spans)


def test_words_and_measurements_share_one_scale(cases, ranges):
    middle = read("of average length, 28 mL").vector(ranges)
    z, given = middle
    assert z.dtype == given.dtype == np.float32 and z.shape == given.shape == (len(FACTS),)
    assert given.sum() == 2 and z[FACTS.index("length_mm")] == pytest.approx(0, abs=1e-6)
    high, low = (read(f"very {word}").vector(ranges)[0][FACTS.index("length_mm")] for word in ("long", "short"))
    assert high > 1 and low < -1

    z, given = vector_of(cases[0], ranges)
    text = f"{cases[0].length_mm:.4f} mm long"
    assert given.all() and np.abs(z).max() <= 4
    assert read(text).vector(ranges)[0][FACTS.index("length_mm")] == pytest.approx(z[FACTS.index("length_mm")], abs=1e-3)
    assert read("900 L").vector(ranges)[0].max() == 4


def test_the_package_does_not_load_torch():
    code = "import sys, sketch2ct.describe; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
