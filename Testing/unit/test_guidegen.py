"""Whole regions from text and from what is given: kept to the voxel, on any grid, the same for a seed; and through the engine."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from fake_backend import FlatVolumes, circle, make_bundle
from regions import CLASSES, FRAME, PLACEMENT, STRUCTURES, anatomy, law, network, prior, ranges
from sketch2ct import bundle, masks
from sketch2ct.engine import Engine
from sketch2ct.errors import BadRequest, BundleCorrupt, Cancelled
from sketch2ct.evaluation.region_validity import RegionLimits
from sketch2ct.generation import MaskCondition, Progress
from sketch2ct.geometry import Grid
from sketch2ct.imaging import LabelVolume, read_image, write_nifti
from sketch2ct.masks.guidegen import GuideGenMasks, Sampling, mended, without_crumbs
from sketch2ct.networks.region_unet import NOT_GIVEN
from sketch2ct.request import NONE, GenerationRequest

RIGHT, LEFT, LARYNX = STRUCTURES
NAMES = {n: name for n, name in enumerate(CLASSES.names) if n}


def encode(sentences):
    """A few numbers that depend on the words."""
    features = [torch.full((4, 384), (sum(map(ord, text)) % 97) / 97) for text in sentences]
    return torch.stack(features), torch.ones(len(sentences), 4, dtype=torch.bool)


@pytest.fixture(scope="module")
def generator():
    """Untrained but for noise in its weights: it obeys nothing but what is built in."""
    return GuideGenMasks(network(trained=True), CLASSES, prior(), law(), ranges(), encode, torch.device("cpu"), Sampling(steps=4))


@pytest.fixture(scope="module")
def usual():
    """Before training: Bayes' rule with the spatial prior, sharpened, for its voxels know nothing of each other."""
    sampling = Sampling(steps=12, temperature=0.3)
    return GuideGenMasks(network(), CLASSES, prior(coarse=1), law(), ranges(), encode, torch.device("cpu"), sampling)


def made(generator, grid=FRAME, context=None, text="", seed=0, **more):
    condition = MaskCondition((), (), text, grid, context, **more)
    return generator.generate(condition, torch.Generator().manual_seed(seed), Progress())


def a_context(rng):
    """A label map of some structures, other values and shapes each time, on a grid that is not the frame's, flipped or turned."""
    axes = np.diag(rng.uniform(3, 9, 3)) @ np.diag(rng.choice([-1.0, 1.0], 3))
    if rng.random() < 0.3:
        angle = rng.uniform(-0.4, 0.4)
        axes = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]) @ axes
    affine = np.eye(4)
    affine[:3, :3], shape = axes, tuple(int(n) for n in rng.integers(9, 20, 3))
    affine[:3, 3] = rng.normal(0, 20, 3) - axes @ (np.array(shape) - 1) / 2
    grid = Grid(shape, affine)
    names = {
        int(v): str(n) for v, n in zip(rng.choice(np.arange(1, 200), 6, replace=False), rng.permutation(CLASSES.names[1:]), strict=True)
    }
    names = dict(list(names.items())[: int(rng.integers(1, 5))])
    array = np.zeros(shape, np.uint8)
    for value in names:
        if rng.random() < 0.2:
            array[tuple(rng.integers(0, shape))] = value  # a single voxel
        else:
            low = rng.integers(0, np.array(shape) - 2)
            array[tuple(slice(a, a + int(n)) for a, n in zip(low, rng.integers(1, 7, 3), strict=True))] = value
    return LabelVolume(array, grid, names)


def test_the_anatomy_it_starts_from_suits_the_text_and_what_is_given(usual):
    left, larynx = (CLASSES.index(name) for name in ("parotid_gland_left", "larynx"))
    nothing, open_ = np.full(FRAME.shape, NOT_GIVEN, np.uint8), np.zeros(CLASSES.count, bool)

    def volumes(text, given, closed):
        codes = usual.anatomy(text, given, closed, FRAME, torch.Generator().manual_seed(0))
        return {CLASSES.index(name): law().measured(name, code, FRAME).volume_ml for name, code in codes.items()}

    small, large = (volumes(f"The larynx has a volume of {ml} mL.", nothing, open_)[larynx] for ml in (8, 15))
    assert large > 1.4 * small
    sizes = []
    for size in (0.8, 1.2):
        given = np.where(anatomy(size=size) == CLASSES.index("parotid_gland_right"), np.uint8(left - 1), nothing)
        assert CLASSES.names[left - 1] == "parotid_gland_right"
        closed = open_.copy()
        closed[left - 1] = True
        sizes.append(volumes("", given, closed)[left])
    assert sizes[1] > 1.2 * sizes[0]  # glands grow together


def test_a_bundle_says_how_far_anatomy_varies_and_how_far_beside_what_is_given():
    """At 0 every draw is the most usual anatomy."""
    given, closed = np.full(FRAME.shape, NOT_GIVEN, np.uint8), np.zeros(CLASSES.count, bool)
    there, right = given.copy(), CLASSES.index(RIGHT)
    there[anatomy() == right] = right

    def apart(sampling, known, shut):
        own = GuideGenMasks(network(), CLASSES, prior(), law(), ranges(), encode, torch.device("cpu"), sampling)
        one, other = (own.anatomy("", known, shut, FRAME, torch.Generator().manual_seed(seed))[LARYNX] for seed in (0, 1))
        return float(np.abs(one - other).max())

    told = closed.copy()
    told[right] = True
    assert apart(Sampling(spread=0.0), given, closed) < 1e-6 < 0.1 < apart(Sampling(spread=0.0), there, told)
    assert apart(Sampling(around=0.0), there, told) < 1e-6 < 0.1 < apart(Sampling(around=0.0), given, closed)


def test_a_structure_in_pieces_gets_its_drawn_shape():
    n, found = CLASSES.index("larynx"), np.full((CLASSES.count, *FRAME.shape), 0.01, np.float32)
    found[1] = 0.9
    found[n, 7:9, 7:9, 2:6] = found[n, 7:9, 7:9, 9:13] = 2.0
    part = (slice(6, 10), slice(6, 10), slice(1, 14))
    share = np.full((4, 4, 13), 0.1, np.float32)
    share[1:3, 1:3, 1:12] = 0.8
    broken = found.copy()
    without_crumbs(broken, CLASSES)
    assert (broken.argmax(axis=0) == n).sum() == 16  # half of it was lost
    mended(found, CLASSES, {n: (part, share)})
    without_crumbs(found, CLASSES)
    assert (found.argmax(axis=0) == n).sum() == 44
    whole = found.copy()
    mended(found, CLASSES, {n: (part, share)})
    assert np.array_equal(found, whole)  # what is in one piece stays as it is


@pytest.mark.parametrize("seed", range(50))
def test_what_is_given_is_kept_to_the_voxel(generator, seed):
    context = a_context(np.random.default_rng(seed))
    before = context.array.copy()
    result = made(generator, context.grid, context, seed=seed, steps=2)
    assert np.array_equal(result.array[before > 0], before[before > 0])  # every one
    for value, name in context.names.items():
        assert result.names[value] == name
        if (before == value).any():
            assert np.array_equal(result.array == value, before == value), name  # and not one more
    assert np.array_equal(context.array, before)


def test_a_region_is_complete_and_where_it_should_be(usual):
    result = made(usual)
    assert set(np.unique(result.array)) <= {0, *result.names} and set(result.names.values()) == set(NAMES.values())
    for name in STRUCTURES:
        middle = FRAME.to_ras(np.argwhere(result.mask(name)).mean(axis=0))
        assert np.linalg.norm(middle - PLACEMENT[name]) < 8
    assert (result.array[0] == 0).mean() > 0.97  # air beside the body


def test_the_surroundings_lie_by_what_is_given(usual):
    moved = np.array([24.0, -16.0, 8.0])
    array = np.where(anatomy(FRAME, 1.0, moved) == CLASSES.index(LARYNX), 5, 0).astype(np.uint8)
    result = made(usual, context=LabelVolume(array, FRAME, {5: LARYNX}))
    middle = FRAME.to_ras(np.argwhere(result.mask(RIGHT)).mean(axis=0))
    assert np.linalg.norm(middle - moved - PLACEMENT[RIGHT]) < 10


def test_without_anything_given_a_sketch_lays_the_region(usual):
    condition = MaskCondition((LARYNX,), (circle(10, (40.0, 8.0, -24.0), structure=LARYNX),), "", FRAME)
    assert usual.frame(condition).centre == pytest.approx([40, 0, 0], abs=0.5)


def test_a_finer_grid_gets_the_same_region_without_a_seam_around_what_is_given(usual):
    fine = Grid.centred((0, 0, 0), (4, 4, 4), (32, 32, 32))
    array = np.where(anatomy(fine) == CLASSES.index(LARYNX), 1, 0).astype(np.uint8)
    result = made(usual, fine, LabelVolume(array, fine, {1: LARYNX}))
    for name in (RIGHT, LEFT):
        volume = result.mask(name).sum() * fine.voxel_ml
        assert volume == pytest.approx((anatomy() == CLASSES.index(name)).sum() * FRAME.voxel_ml, rel=0.4)
    around = np.zeros(fine.shape, bool)
    index = np.argwhere(array)
    around[tuple(slice(a - 1, b + 2) for a, b in zip(index.min(0), index.max(0), strict=True))] = True
    assert (result.array[around] > 0).all()  # deep in the body: no voxel of nothing


def test_the_same_seed_gives_the_same_bytes_and_another_another(generator):
    first, again, other = (made(generator, text="a small larynx", seed=seed) for seed in (3, 3, 4))
    assert first.array.tobytes() == again.array.tobytes() and first.names == again.names
    assert first.array.tobytes() != other.array.tobytes()


def test_words_and_guidance_change_what_is_made(generator):
    silent, small = (made(generator, text=text) for text in ("", "The larynx is small."))
    assert silent.array.tobytes() != small.array.tobytes()
    assert made(generator, text="The larynx is small.", guidance=4.0).array.tobytes() != small.array.tobytes()


def test_crumbs_of_a_structure_go_to_what_is_next_likely():
    found = np.zeros((CLASSES.count, 6, 6, 6), np.float32)
    found[CLASSES.index("body")] = 0.4
    found[CLASSES.index(LARYNX), 0:3, 0:3, 0:3] = 0.6
    found[CLASSES.index(LARYNX), 5, 5, 5] = 0.6
    without_crumbs(found, CLASSES)
    labels = found.argmax(axis=0)
    assert (labels == CLASSES.index(LARYNX)).sum() == 27 and labels[5, 5, 5] == CLASSES.index("body")


def test_at_most_fifty_steps_are_walked_and_each_can_be_cancelled(usual):
    heard = []
    progress = Progress(report=lambda stage, step, steps, *_: heard.append((stage, step, steps)))
    usual.generate(MaskCondition((), (), "", FRAME, steps=400), torch.Generator().manual_seed(0), progress)
    assert heard[-1] == ("mask", 50, 50)
    progress.cancel.set()
    with pytest.raises(Cancelled):
        usual.generate(MaskCondition((), (), "", FRAME), torch.Generator().manual_seed(0), progress)


@pytest.fixture(scope="module")
def engine_and_folder(tmp_path_factory, usual):
    """A bundle that knows the region, and an engine with its untrained generator."""
    folder = tmp_path_factory.mktemp("region")
    frame = {"shape": list(FRAME.shape), "spacing": FRAME.spacing.tolist()}
    known = {
        "structures": list(STRUCTURES),
        "derived": list(CLASSES.derived),
        "placement": PLACEMENT,
        "frame": frame,
        "ranges": {},
        "hu": {},
    }
    make_bundle(folder, "region", **known)
    return Engine(lambda *_: usual, lambda *_: FlatVolumes(), lambda name: bundle.load(str(folder / name))), folder


def test_the_engine_writes_a_whole_region_with_the_values_of_the_bundle(engine_and_folder, tmp_path):
    engine, _ = engine_and_folder
    request = GenerationRequest([], "anything at all", bundle="region", mask_generator="guidegen", device="cpu")
    out = engine.generate(request, tmp_path / "out")[0]
    names = {int(v): n for v, n in json.loads((out / "labels.json").read_text()).items()}
    assert names == dict(enumerate([*STRUCTURES, *CLASSES.derived], start=1))
    judged = json.loads((out / "manifest.json").read_text())["quality"]["structures"]
    assert set(judged) == set(STRUCTURES)
    again = engine.generate(request, tmp_path / "again")[0]
    for name in ("labels.nii.gz", "ct.nii.gz"):
        assert (out / name).read_bytes() == (again / name).read_bytes()


def test_the_engine_completes_a_mask_and_keeps_it(engine_and_folder, tmp_path):
    engine, _ = engine_and_folder
    larynx = (anatomy() == CLASSES.index(LARYNX)) * np.uint8(1)
    write_nifti(tmp_path / "larynx.nii.gz", larynx, FRAME)
    (tmp_path / "labels.json").write_text(json.dumps({"1": LARYNX}))
    request = GenerationRequest(
        [circle(10, PLACEMENT[LARYNX], structure=LARYNX)],
        context=str(tmp_path / "larynx.nii.gz"),
        bundle="region",
        mask_generator="guidegen",
        volume_generator=NONE,
        device="cpu",
    )
    out = engine.generate(request, tmp_path / "out")[0]
    array, grid = read_image(out / "labels.nii.gz")
    assert grid.matches(FRAME) and np.array_equal(array == 1 + STRUCTURES.index(LARYNX), larynx > 0)
    assert {1, 2, 4} <= set(np.unique(array))
    with pytest.raises(BadRequest, match="reads no strokes"):
        engine.generate(request.with_changes(sketches=[circle(10, structure=RIGHT)]), tmp_path / "other")


def test_derived_labels_may_be_given_and_come_back(engine_and_folder, tmp_path):
    engine, _ = engine_and_folder
    bone = (anatomy() == CLASSES.index("bone")) * np.uint8(7)
    write_nifti(tmp_path / "bone.nii.gz", bone, FRAME)
    (tmp_path / "labels.json").write_text(json.dumps({"7": "bone"}))
    changes = {"bundle": "region", "mask_generator": "guidegen", "volume_generator": NONE, "device": "cpu"}
    out = engine.generate(GenerationRequest([], context=str(tmp_path / "bone.nii.gz"), **changes), tmp_path / "out")[0]  # and not a word
    array, _ = read_image(out / "labels.nii.gz")
    names = {n: int(v) for v, n in json.loads((out / "labels.json").read_text()).items()}
    assert np.array_equal(array == names["bone"], bone > 0)


def test_a_bundle_without_a_region_model_says_so(tmp_path):
    make_bundle(tmp_path)
    with pytest.raises(BadRequest, match="single structures"):
        masks.load("guidegen", bundle.load(str(tmp_path / "headneck")), torch.device("cpu"))
    make_bundle(tmp_path, "broken", region={})
    with pytest.raises(BundleCorrupt):
        masks.load("guidegen", bundle.load(str(tmp_path / "broken")), torch.device("cpu"))


def test_validity_is_volume_and_place_within_those_of_the_training_cases():
    cases = []
    for size in (0.95, 1.0, 1.05):
        labels = LabelVolume(anatomy(FRAME, size), FRAME, NAMES)
        middles = {name: FRAME.to_ras(np.argwhere(labels.mask(name)).mean(axis=0)) for name in STRUCTURES}
        cases.append((middles, {name: float(labels.mask(name).sum()) * FRAME.voxel_ml for name in STRUCTURES}))
    limits = RegionLimits.fit(cases, PLACEMENT)
    limits = RegionLimits.from_dict(json.loads(json.dumps(limits.to_dict())), PLACEMENT)
    usual = LabelVolume(anatomy(FRAME, 1.0, (16.0, 8.0, -8.0)), FRAME, NAMES)
    assert limits.judge(usual) == dict.fromkeys(STRUCTURES, True)  # the region may lie anywhere
    large = usual.array.copy()
    large[np.roll(usual.mask(LARYNX), 3, axis=0) & ~usual.mask(RIGHT)] = CLASSES.index(LARYNX)
    assert not limits.judge(LabelVolume(large, FRAME, NAMES))[LARYNX]
    away = usual.array.copy()
    away[usual.mask(RIGHT)] = 0
    away[np.roll(usual.mask(RIGHT), 5, axis=1)] = CLASSES.index(RIGHT)
    assert not limits.judge(LabelVolume(away, FRAME, NAMES))[RIGHT]
    lost = np.where(usual.mask(LEFT), 1, usual.array)
    assert not limits.judge(LabelVolume(lost, FRAME, NAMES))[LEFT]
