"""Noise, sharpness, continuity and tissues of CTs whose answers are known."""

import numpy as np
import pytest
from scipy import ndimage

from sketch2ct.evaluation import texture, tissue
from sketch2ct.evaluation.paired import Placed
from sketch2ct.geometry import Grid
from sketch2ct.imaging import CTVolume, LabelVolume

GRID = Grid.centred((0, 0, 0), (4, 4, 3), (48, 48, 24))
ALL = np.ones(GRID.shape, bool)


def ct_of(hu):
    return CTVolume(np.round(hu).astype(np.int16), GRID)


def noisy(sd, seed=0):
    return 50 + sd * np.random.default_rng(seed).standard_normal(GRID.shape)


def ball(radius=70.0):
    return np.linalg.norm(GRID.voxel_centres(), axis=-1) - radius  # signed distance, mm, negative inside


def test_white_noise_has_a_flat_spectrum_of_its_variance_times_the_pixel():
    found = texture.noise(ct_of(noisy(20)), ALL)
    # fitting a plane takes 3 of the 64 degrees of freedom, all of them low frequencies
    assert found["noise_sd"] == pytest.approx(20 * np.sqrt(61 / 64), rel=0.03)
    for band in (1, 2, 3):
        assert found[f"nps_{band}"] == pytest.approx(20**2 * 4 * 4, rel=0.08)


def test_the_spectrum_integrates_to_the_variance():
    found = texture.noise(ct_of(noisy(30)), ALL)
    twice = texture.noise(ct_of(noisy(60)), ALL)
    assert twice["nps_2"] / found["nps_2"] == pytest.approx(4, rel=0.05)
    assert twice["noise_sd"] / found["noise_sd"] == pytest.approx(2, rel=0.02)


def test_a_blurred_copy_has_less_noise_most_of_all_at_high_frequencies():
    sharp = noisy(20)
    blurred = texture.noise(ct_of(ndimage.gaussian_filter(sharp, 1)), ALL)
    before = texture.noise(ct_of(sharp), ALL)
    assert blurred["noise_sd"] < 0.5 * before["noise_sd"]
    shares = [blurred[f"nps_{band}"] / before[f"nps_{band}"] for band in range(4)]
    assert shares == sorted(shares, reverse=True) and shares[3] < 0.05


def test_a_gradient_is_no_noise_and_bone_no_soft_tissue():
    ramp = 20 + np.arange(48)[:, None, None] * np.ones(GRID.shape)
    assert texture.noise(ct_of(ramp), ALL)["noise_sd"] < 0.5
    assert np.isnan(texture.noise(ct_of(np.full(GRID.shape, 800)), ALL)["noise_sd"])
    assert np.isnan(texture.noise(ct_of(noisy(5)), np.zeros(GRID.shape, bool))["nps_0"])


@pytest.mark.parametrize("sigma", [4.0, 6.0])
def test_the_width_of_a_blurred_border_is_that_of_the_error_function(sigma):
    from scipy.special import erfc

    far = Grid.centred((0, 0, 0), (2, 2, 2), (90, 90, 40))
    distance = np.linalg.norm(far.voxel_centres()[..., :2], axis=-1) - 55  # a cylinder
    volume = (-1000 + 1000 * 0.5 * erfc(distance / sigma / np.sqrt(2))).astype(np.float32)
    width, steepness = texture.border(volume, -500, far.spacing, np.ones(far.shape, bool))
    assert width == pytest.approx(2 * 1.2816 * sigma, rel=0.12)  # the 90th percentile of a normal distribution, on both sides
    assert steepness == pytest.approx(1000 / (sigma * np.sqrt(2 * np.pi)), rel=0.12)


def test_a_blurred_copy_has_softer_borders_of_skin_and_bone():
    hu = np.where(ball() < 0, 40.0, -1000.0)
    hu[ball(30) < 0] = 900
    body = ball() < 0
    sharp = texture.edges(ct_of(hu), body, ALL)
    soft = texture.edges(ct_of(ndimage.gaussian_filter(hu, 1.2)), body, ALL)
    for name in ("skin", "bone"):
        assert soft[f"{name}_width_mm"] > 1.3 * sharp[f"{name}_width_mm"]
        assert soft[f"{name}_hu_per_mm"] < 0.8 * sharp[f"{name}_hu_per_mm"]


def test_an_airway_and_a_table_are_no_skin():
    hu = np.where(ball() < 0, 40.0, -1000.0)
    clean = texture.edges(ct_of(hu), ball() < 0, ALL)
    hu[22:26, 22:26] = -950  # a blurred airway
    hu[:, 1] = 0  # a table
    again = texture.edges(ct_of(hu), ball() < 0, ALL)
    assert again["skin_width_mm"] == pytest.approx(clean["skin_width_mm"], rel=0.05)


def test_without_bone_or_knowledge_there_is_no_border():
    hu = np.where(ball() < 0, 40.0, -1000.0)
    assert np.isnan(texture.edges(ct_of(hu), ball() < 0, ALL)["bone_width_mm"])
    assert np.isnan(texture.edges(ct_of(hu), ball() < 0, np.zeros(GRID.shape, bool))["skin_width_mm"])


def test_equal_slices_are_continuous_and_one_that_does_not_fit_stands_out():
    slice_of = 100 * np.random.default_rng(0).standard_normal((48, 48, 1))
    along = np.arange(24) * 2.0  # every slice is 2 HU brighter than the last
    hu = slice_of + along
    found = texture.continuity(ct_of(hu), ALL)
    assert found["z_correlation"] == pytest.approx(1, abs=1e-4)
    assert found["z_step_hu"] == pytest.approx(2, abs=0.05) and found["z_worst_step"] == pytest.approx(1, abs=0.05)
    hu[..., 12] += 20
    assert texture.continuity(ct_of(hu), ALL)["z_worst_step"] == pytest.approx(11, abs=0.3)  # 22 HU up where 2 are usual
    shuffled = texture.continuity(ct_of(100 * np.random.default_rng(0).standard_normal(GRID.shape)), ALL)
    assert abs(shuffled["z_correlation"]) < 0.05 and shuffled["z_to_plane"] == pytest.approx(1, abs=0.02)


def test_a_constant_ct_has_no_continuity_to_speak_of():
    assert np.isnan(texture.continuity(ct_of(np.zeros(GRID.shape)), ALL)["z_correlation"])


def tissue_values(shift=0.0):
    rng = np.random.default_rng(0)
    parts = [(-102, 20, 8000), (48, 15, 12000), (620, 60, 3000), (-985, 10, 500)]
    return np.concatenate([rng.normal(mean, sd, n) for mean, sd, n in parts]) + shift


def test_peaks_lie_where_the_tissues_do_and_move_with_them():
    plain, moved = (tissue.tissues(tissue_values(s), np.ones(23500, bool)) for s in (0, 20))
    for name, at in (("fat", -102), ("muscle", 48), ("air", -985), ("bone", 620)):
        assert plain[name]["peak"] == pytest.approx(at, abs=8)
        assert moved[name]["peak"] - plain[name]["peak"] == pytest.approx(20, abs=5.1)  # bins of 5 HU
    assert plain["bone"]["share"] == pytest.approx(3000 / 23500, abs=1e-3)
    assert plain["muscle"]["median"] == pytest.approx(48, abs=1)


def test_a_slope_or_a_wiggle_is_no_peak():
    values = np.concatenate([np.full(500, -150.0), np.full(500, -100.0), np.full(500, -50.0), np.full(4000, 50.0)])
    assert tissue.peak(np.concatenate([values, np.full(300, -100.0)]), -200, -25) == pytest.approx(-100, abs=5)
    wiggle = np.concatenate([np.arange(-300, 100, 0.2), np.full(4, -100.0)])
    assert np.isnan(tissue.peak(wiggle, -200, -25))
    falling = np.repeat(np.arange(-300, 100, 5) + 1.0, np.arange(400, 0, -5))
    assert np.isnan(tissue.peak(falling, -200, -25))


def test_a_constant_ct_has_no_fat():
    found = tissue.tissues(np.full(1000, 40), np.ones(1000, bool))
    assert np.isnan(found["fat"]["peak"]) and found["fat"]["share"] == 0 and found["muscle"]["peak"] == pytest.approx(40, abs=5)


def test_structures_keep_median_and_spread_of_what_was_stored():
    labels = np.zeros(GRID.shape, np.uint8)
    labels[:10] = 1
    hu = np.zeros(GRID.shape)
    hu[:5], hu[5:10] = 100, 200
    known = ALL.copy()
    known[:5] = False
    half = tissue.structures(Placed("a", ct_of(hu), known, ALL, LabelVolume(labels, GRID, {1: "mandible", 2: "brainstem"})))
    whole = tissue.structures(Placed("a", ct_of(hu), ALL, ALL, LabelVolume(labels, GRID, {1: "mandible"})))
    assert half == {"mandible": {"median": 200.0, "spread": 0.0}}
    assert whole == {"mandible": {"median": 150.0, "spread": 100.0}}


def test_tissues_are_summed_up_side_by_side():
    made, real = (
        {"tissues": tissue.tissues(tissue_values(s), np.ones(23500, bool)), "structures": {"mandible": {"median": s, "spread": 10 + s}}}
        for s in (20.0, 0.0)
    )
    found = tissue.summarise([(made, real)] * 3, 0)
    assert found["tissues"]["muscle"]["peak"]["error"]["mean"] == pytest.approx(20, abs=5.1)
    assert found["tissues"]["fat"]["has_peak"]["generated"] == {"mean": 1.0, "ci95": [1.0, 1.0], "n": 3}
    assert found["structures"]["mandible"]["median"]["error"]["mean"] == 20
    assert found["structures"]["mandible"]["spread"]["ratio"]["mean"] == 3
