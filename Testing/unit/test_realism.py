"""Fréchet distance, diversity, nearest neighbours and ratios, on sets whose answers are known."""

import warnings

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sketch2ct.errors import BadRequest
from sketch2ct.evaluation import neighbours_ct, paired, radimagenet, realism
from sketch2ct.evaluation.paired import Placed
from sketch2ct.geometry import Grid
from sketch2ct.imaging import CTVolume, LabelVolume

GRID = Grid.centred((0, 0, 0), (4, 4, 3), (32, 40, 48))


def placed(case, hu, known=None, grid=GRID):
    known = np.ones(grid.shape, bool) if known is None else known
    ct = CTVolume(np.round(hu).astype(np.int16), grid)
    return Placed(case, ct, known, known, LabelVolume(np.zeros(grid.shape, np.uint8), grid, {}))


def patient(seed, grid=GRID):
    from scipy import ndimage

    rough = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(grid.shape), 3)
    return 40 + 120 * rough / rough.std()


def vectors(seed, count=60, width=6):
    return np.random.default_rng(seed).standard_normal((count, width))


def test_equal_sets_are_at_no_distance_and_moved_ones_at_their_square():
    a = vectors(0)
    assert realism.frechet(a, a) == pytest.approx(0, abs=1e-6)
    assert realism.frechet(a, a + np.array([3, 4, 0, 0, 0, 0])) == pytest.approx(25, abs=1e-6)
    # twice as wide: the trace of S + 4 S - 2 (2 S) = S
    assert realism.frechet(a - a.mean(0), 2 * (a - a.mean(0))) == pytest.approx(np.trace(np.cov(a.T)), rel=1e-6)


def test_too_few_vectors_have_no_distance_and_fewer_than_their_width_have_one():
    assert np.isnan(realism.frechet(vectors(0)[:1], vectors(1)))
    few = vectors(0, 20, 40)
    assert realism.frechet(few, few) == pytest.approx(0, abs=1e-4)
    assert realism.frechet(few - few.mean(0), 2 * (few - few.mean(0))) == pytest.approx(np.trace(np.cov(few.T)), rel=1e-6)


def test_a_column_that_never_changes_neither_warns_nor_counts():
    a, moved = vectors(0, 24, 30), vectors(1, 24, 30)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        without = realism.frechet(a, moved)
        held = [np.concatenate([part, np.ones((24, 1))], 1) for part in (a, moved)]
        assert realism.frechet(*held) == pytest.approx(without, rel=1e-4)


def patients(first, count, shift=0.0):
    return [{plane: vectors(first + n) + shift for plane in realism.PLANES} for n in range(count)]


def test_generated_ones_that_are_real_lie_on_the_floor_and_others_above():
    real, reference = patients(0, 5), patients(100, 20)
    same = realism.fid(real, real, reference, 0)
    assert same["axial"]["ratio"]["mean"] == 1 and same["axial"]["ratio"]["ci95"] == [1, 1]
    assert same["mean"]["generated"] == same["mean"]["floor"]
    assert same["axial"]["slabs"] == [300, 300, 1200]
    off = realism.fid(patients(0, 5, shift=2.0), real, reference, 0)
    assert off["coronal"]["generated"]["mean"] == pytest.approx(6 * 4, rel=0.2)
    assert off["mean"]["ratio"]["mean"] > 20 and off["mean"]["generated"]["n"] == 5
    low, high = off["mean"]["generated"]["ci95"]
    assert low < off["mean"]["generated"]["mean"] < high
    assert off == realism.fid(patients(0, 5, shift=2.0), real, reference, 0)
    assert realism.fid([], [], reference, 0) == {} and realism.fid(real, real, [], 0) == {}


def test_features_are_pooled_over_the_stored_cells_of_slabs_with_body():
    found = np.zeros((2, 4, 5, 6))
    found[0] = np.arange(6)  # tells the axial slab
    found[1] = np.arange(4)[:, None, None]  # and the sagittal one
    known = np.ones(GRID.shape, bool)
    known[..., 40:] = False  # the last axial slab
    one = placed("a", np.zeros(GRID.shape), known)
    one.body = known.copy()
    one.body[:8] = False  # the first sagittal slab
    means = realism.slab_means(found, 8, one)
    np.testing.assert_allclose(means["axial"], [[n, 1.5] for n in range(5)])
    np.testing.assert_allclose(means["sagittal"], [[2.0, n] for n in (1, 2, 3)])
    assert means["coronal"].shape == (5, 2)


def test_equal_cts_are_alike_and_small_ones_have_no_scales():
    big = Grid.centred((0, 0, 0), (4, 4, 3), (64, 64, 64))
    a, b = (patient(n, big) for n in (0, 1))
    assert realism.ms_ssim(a, a) == pytest.approx(1, abs=1e-5)
    near, far = realism.ms_ssim(a, a + 0.1 * (b - a)), realism.ms_ssim(a, b)
    assert far < near < 1
    assert np.isnan(realism.ms_ssim(a[:3], b[:3]))
    hidden = np.ones(big.shape, bool)
    hidden[32:] = False
    half = a.copy()
    half[32:] = 900
    assert realism.alike(placed("a", a, hidden, big), placed("b", half, None, big)) == pytest.approx(1, abs=1e-3)


def test_diversity_counts_a_patient_once():
    found = realism.diversity([[0.8, 0.9, 1.0], [0.5]], [(0.6, 0.4)], 0)
    assert found["one_mask"]["mean"] == 0.7 and found["one_mask"]["n"] == 2
    assert found["patients"]["mean"] == 0.6 and found["patients_real"]["mean"] == 0.4


@pytest.fixture(scope="module")
def training():
    return [neighbours_ct.Signature.of(placed(f"tr_{n}", patient(n))) for n in range(8)]


def test_a_copy_of_a_training_scan_is_found_also_when_it_lies_elsewhere(training):
    copy = np.roll(patient(3), (2, 0, -2), axis=(0, 1, 2)) + 5 * np.random.default_rng(0).standard_normal(GRID.shape)
    found = neighbours_ct.nearest(neighbours_ct.Signature.of(placed("va_0", copy)), training)
    assert found["case"] == "tr_3" and found["distance"] < 0.02 < 0.5 < found["median"]
    other = neighbours_ct.nearest(neighbours_ct.Signature.of(placed("va_0", patient(99))), training)
    assert other["distance"] > 0.5
    summed = neighbours_ct.summarise([(found, other), (other, other)], ["va_0", "va_1"], 0)
    assert [(c["case"], c["training"]) for c in summed["copies"]] == [("va_0", "tr_3")]
    assert summed["ratio"]["mean"] == pytest.approx((found["distance"] + other["distance"]) / 2 / other["distance"], abs=1e-3)
    assert neighbours_ct.summarise([(other, other)], ["va_1"], 0)["ratio"]["mean"] == 1


def test_a_case_is_not_its_own_neighbour_and_what_was_not_stored_does_not_count(training):
    again = neighbours_ct.nearest(neighbours_ct.Signature.of(placed("tr_3", patient(3))), training)
    assert again["case"] != "tr_3" and again["distance"] > 0.3
    known = np.ones(GRID.shape, bool)
    known[:16] = False
    half = np.where(known, patient(5), 3000)
    found = neighbours_ct.nearest(neighbours_ct.Signature.of(placed("va_0", half, known)), training)
    assert found["case"] == "tr_5" and found["distance"] < 1e-3
    nothing = neighbours_ct.nearest(neighbours_ct.Signature.of(placed("va", half, np.zeros(GRID.shape, bool))), training)
    assert nothing["case"] is None and np.isnan(nothing["distance"])


def test_a_ratio_is_of_means_over_the_same_patients():
    assert paired.ratio([1.0, 3.0], [2.0, 2.0]) == {"mean": 1.0, "ci95": [0.5, 1.5], "n": 2}
    assert paired.ratio([1.0, np.nan, 3.0], [2.0, 5.0, np.nan])["mean"] == 0.5
    two = paired.ratio([[1.0, 4.0], [1.0, np.nan]], [[2.0, 4.0], [2.0, 9.0]])
    assert two["mean"] == pytest.approx((1 + 4) / (2 + 4), abs=1e-4) and two["n"] == 2
    assert paired.ratio([], [])["mean"] is None and paired.ratio([1.0], [0.0])["mean"] is None
    exact = paired.ratio([0.3, 0.5, 0.9], [0.6, 1.0, 1.8])
    assert exact["mean"] == 0.5 and exact["ci95"] == [0.5, 0.5]  # patients are drawn together


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    from monai.networks.nets import resnet50

    torch.manual_seed(0)
    state = resnet50(spatial_dims=2, n_input_channels=3, conv1_t_stride=2, feed_forward=False, bias_downsample=False).state_dict()
    folder = tmp_path_factory.mktemp("weights")
    save_file({name: value.contiguous() for name, value in state.items()}, folder / "plain.safetensors")
    numbers = {name: number for number, name in radimagenet._SEQUENCE.items()}
    numbered = {f"backbone.{numbers[k.split('.')[0]]}.{k.partition('.')[2]}": v.contiguous() for k, v in state.items()}
    save_file(numbered, folder / "numbered.safetensors")
    biased = {f"{k.removesuffix('weight')}bias": torch.zeros(len(v)) for k, v in state.items() if k.endswith("weight") and v.ndim == 4}
    save_file({**{k: v.contiguous() for k, v in state.items()}, **biased}, folder / "keras.safetensors")
    save_file({"conv1.weight": torch.zeros(64, 3, 7, 7)}, folder / "part.safetensors")
    torch.save(state, folder / "pickled.pt")
    return folder


def test_named_weights_give_features_of_the_middle_slices(weights):
    one = placed("a", patient(0))
    plain, numbered, keras = (
        radimagenet.RadImageNetFeatures(weights / f"{name}.safetensors", torch.device("cpu"), side=64)(one)
        for name in ("plain", "numbered", "keras")
    )
    assert {plane: len(found) for plane, found in plain.items()} == {"sagittal": 12, "coronal": 16, "axial": 20}
    assert plain["axial"].shape[1] == 2048
    np.testing.assert_allclose(plain["axial"], numbered["axial"])
    assert np.abs(plain["axial"] - keras["axial"]).max() > 1e-3  # the strides lie elsewhere


@pytest.mark.parametrize(
    ("name", "message"),
    [("pickled.pt", "can run code.*safetensors"), ("part.safetensors", "is missing"), ("none.safetensors", "There are no weights")],
)
def test_other_weights_are_refused(weights, name, message):
    with pytest.raises(BadRequest, match=message):
        radimagenet.RadImageNetFeatures(weights / name, torch.device("cpu"))


def test_a_ratio_of_few_patients_survives_zeros_below_the_line():
    """One of three patients has none below the line: some resamples hold only that one."""
    found = paired.ratio([1.0, 2.0, 3.0], [0.0, 4.0, 8.0], seed=0)
    assert found["mean"] == 0.5 and found["n"] == 3
    low, high = found["ci95"]
    assert 0 < low <= 0.5 <= high < np.inf
