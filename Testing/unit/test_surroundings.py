"""Two bundles on one request: a mask, the region completed around it, a CT. What the user has stays as it is, to the voxel."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest
import torch

from fake_backend import EllipsoidMasks, FlatVolumes, circle, make_bundle
from regions import CLASSES, FRAME, PLACEMENT, STRUCTURES, anatomy, law, network, prior, ranges
from sketch2ct import bundle, pairing
from sketch2ct.cli import main
from sketch2ct.engine import Engine, spans
from sketch2ct.errors import BadRequest, BundleMissing, Cancelled, OutOfMemory
from sketch2ct.framing import Plan
from sketch2ct.generation import Progress
from sketch2ct.geometry import Grid
from sketch2ct.imaging import LabelVolume, read_image, write_nifti
from sketch2ct.masks.guidegen import GuideGenMasks, Sampling
from sketch2ct.request import NONE, GenerationRequest

RIGHT, LEFT, LARYNX = STRUCTURES
IMAGES = ("labels.nii.gz", "ct.nii.gz")
FACTS = {"structures": list(STRUCTURES), "placement": PLACEMENT, "ranges": {}, "hu": {}}
FACTS |= {"frame": {"shape": list(FRAME.shape), "spacing": FRAME.spacing.tolist()}}


def encode(sentences):
    features = [torch.full((4, 384), (sum(map(ord, text)) % 97) / 97) for text in sentences]
    return torch.stack(features), torch.ones(len(sentences), 4, dtype=torch.bool)


def whole(steps=2):
    """The whole-region generator with noise for weights: it obeys nothing but what is built in."""
    return GuideGenMasks(network(trained=True), CLASSES, prior(), law(), ranges(), encode, torch.device("cpu"), Sampling(steps=steps))


@pytest.fixture(scope="module")
def region():
    return whole()


@pytest.fixture
def folder(tmp_path):
    """Bundles: one that makes the structures, one that completes the region, one for MR, one that only makes CTs."""
    make_bundle(tmp_path, "organs", **FACTS, derived=list(CLASSES.derived), mask={"steps": 7}, version="1.2")
    sampling = {"sampling": {"steps": 2}}
    make_bundle(tmp_path, "whole", **FACTS, derived=list(CLASSES.derived), region=sampling, generators={"mask": ["guidegen"]})
    make_bundle(tmp_path, "magnetic", **FACTS, region=sampling, modality="MR")
    make_bundle(tmp_path, "painter", **FACTS, generators={"mask": [], "volume": ["guidegen"]})
    return tmp_path


@pytest.fixture
def loaded():
    """Which generators were loaded from which bundles."""
    return []


@pytest.fixture
def engine(folder, region, loaded):
    def load_masks(name, own, device):
        loaded.append(("mask", name, own.name))
        return region if name == "guidegen" else EllipsoidMasks()

    def load_volumes(name, own, device):
        loaded.append(("volume", name, own.name))
        return FlatVolumes()

    return Engine(load_masks, load_volumes, lambda name: bundle.load(str(folder / name)))


def request(structure=LARYNX, centre=PLACEMENT[LARYNX], **more):
    values = {"bundle": "organs", "surroundings": "whole", "device": "cpu", **more}
    return GenerationRequest([circle(14, centre, structure=structure)], **values)


def labels_of(folder):
    array, grid = read_image(folder / "labels.nii.gz")
    return LabelVolume(array, grid, {int(v): n for v, n in json.loads((folder / "labels.json").read_text()).items()})


def manifest(folder):
    return json.loads((folder / "manifest.json").read_text())


def context_file(path, seed):
    """A label map of one or two structures, on another grid each time; the path."""
    rng = np.random.default_rng(seed)
    axes = np.diag(rng.uniform(4, 9, 3)) @ np.diag(rng.choice([-1.0, 1.0], 3))
    if rng.random() < 0.3:
        angle = rng.uniform(-0.4, 0.4)
        axes = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]) @ axes
    shape = tuple(int(n) for n in rng.integers(12, 20, 3))
    affine = np.eye(4)
    affine[:3, :3] = axes
    affine[:3, 3] = rng.normal(0, 8, 3) - axes @ (np.array(shape) - 1) / 2
    held = [str(name) for name in rng.permutation([RIGHT, LEFT])[: int(rng.integers(1, 3))]]
    if rng.random() < 0.3:
        held.append("bone")
    names = dict(zip((int(v) for v in rng.choice(np.arange(1, 200), len(held), replace=False)), held, strict=True))
    array = np.zeros(shape, np.uint8)
    for value in names:
        low = rng.integers(0, np.array(shape) - 3)
        array[tuple(slice(a, a + int(n)) for a, n in zip(low, rng.integers(1, 6, 3), strict=True))] = value
    path.mkdir()
    write_nifti(path / "context.nii.gz", array, Grid(shape, affine))
    (path / "labels.json").write_text(json.dumps(names))
    return path / "context.nii.gz"


@pytest.mark.parametrize("seed", range(50))
def test_what_is_sketched_and_what_is_given_stay_to_the_voxel(engine, tmp_path, seed):
    context = context_file(tmp_path / "given", seed)
    array, grid = read_image(context)
    names = {int(v): n for v, n in json.loads((tmp_path / "given" / "labels.json").read_text()).items()}
    middle = grid.to_ras((np.array(grid.shape) - 1) / 2)
    single = request(centre=middle, context=str(context), seed=seed, volume_generator=NONE, surroundings=None)
    alone = labels_of(engine.generate(single, tmp_path / "alone")[0])
    out = labels_of(engine.generate(single.with_changes(surroundings="whole"), tmp_path / "out")[0])
    assert out.grid.matches(grid)
    for value, name in names.items():
        if (array == value).any():
            assert np.array_equal(out.mask(name), array == value), name  # every voxel, and not one more
    assert np.array_equal(out.mask(LARYNX), alone.mask(LARYNX))
    assert len(set(np.unique(out.array))) > len(set(np.unique(alone.array)))  # and something was completed


def test_the_region_is_completed_on_the_frame_and_written_once(engine, tmp_path, loaded):
    folder = engine.generate(request(description="The larynx has 12 mL. The right parotid gland has 9 mL.", seed=5), tmp_path / "out")[0]
    labels = labels_of(folder)
    assert labels.names == dict(enumerate([*STRUCTURES, *CLASSES.derived], start=1))
    assert loaded == [("mask", "sketch2ct", "organs"), ("mask", "guidegen", "whole"), ("volume", "sketch2ct", "organs")]
    facts = manifest(folder)
    assert set(facts["seconds"]) == {"load", "mask", "surroundings", "volume", "write"}
    assert facts["bundle"] == "organs" and set(facts["bundles"]) == {"mask", "surroundings", "volume"}
    around = facts["bundles"]["surroundings"]
    assert (around["bundle"], around["generator"], around["steps"]) == ("whole", "guidegen", 2) and len(around["bundle_hash"]) == 64
    assert facts["bundles"]["mask"]["steps"] == 7 and facts["bundles"]["mask"]["version"] == "1.2"
    judged = facts["quality"]["structures"]
    assert next(iter(judged)) == LARYNX and set(judged) == set(STRUCTURES)  # the user's and the completed ones, without body, bone and air
    assert judged[LARYNX]["asked_volume_ml"] == 12 and judged[RIGHT]["asked_volume_ml"] == 9 and judged[LEFT]["asked_volume_ml"] is None


def test_body_bone_and_air_are_in_the_labels_and_neither_in_the_scene_nor_in_the_preview(engine, tmp_path):
    from sketch2ct.export.scene import write_scene
    from sketch2ct.preview import write_preview

    folder = engine.generate(request(), tmp_path / "out")[0]
    assert {"body", "bone"} & set(labels_of(folder).names.values())
    with zipfile.ZipFile(write_scene(folder, tmp_path / "scene.mrb")) as scene:
        text = next(scene.read(name) for name in scene.namelist() if name.endswith(".mrml")).decode()
    assert LARYNX in text and "segmentID^body" not in text
    assert write_preview(folder, tmp_path / "preview.png").stat().st_size > 10_000


def test_a_given_mask_and_several_sketches_are_completed_too(engine, tmp_path):
    mask = np.where(anatomy() == CLASSES.index(RIGHT), 4, 0).astype(np.uint8)
    write_nifti(tmp_path / "mask.nii.gz", mask, FRAME)
    (tmp_path / "labels.json").write_text(json.dumps({"4": RIGHT}))
    given = GenerationRequest([], context=str(tmp_path / "mask.nii.gz"), mask_generator=NONE, bundle="organs", surroundings="whole")
    out = labels_of(engine.generate(given.with_changes(device="cpu", volume_generator=NONE), tmp_path / "out")[0])
    assert np.array_equal(out.mask(RIGHT), mask > 0) and out.has(LARYNX)
    two = request().with_changes(sketches=[circle(14, PLACEMENT[name], structure=name) for name in (LARYNX, LEFT)])
    alone = labels_of(engine.generate(GenerationRequest(two.sketches, bundle="organs", device="cpu"), tmp_path / "alone")[0])
    out = labels_of(engine.generate(two, tmp_path / "both")[0])
    for name in (LARYNX, LEFT):
        assert np.array_equal(out.mask(name), alone.mask(name))
    assert out.has(RIGHT)


def test_a_region_in_which_nothing_is_missing_stays(engine, tmp_path):
    array = np.where(anatomy() > 0, anatomy(), 0).astype(np.uint8)
    write_nifti(tmp_path / "mask.nii.gz", array, FRAME)
    (tmp_path / "labels.json").write_text(json.dumps({str(n): name for n, name in enumerate(CLASSES.names) if n}))
    given = GenerationRequest([], context=str(tmp_path / "mask.nii.gz"), mask_generator=NONE, bundle="organs", surroundings="whole")
    out = labels_of(engine.generate(given.with_changes(device="cpu"), tmp_path / "out")[0])
    assert (out.array > 0).sum() == (array > 0).sum()


def test_the_same_request_gives_the_same_bytes_and_samples_differ(engine, tmp_path):
    asked = request(samples=2, seed=3)
    first, again = (engine.generate(asked, tmp_path / name) for name in ("first", "again"))
    for one, other in zip(first, again, strict=True):
        assert all((one / name).read_bytes() == (other / name).read_bytes() for name in (*IMAGES, "request.json"))
    assert (first[0] / "labels.nii.gz").read_bytes() != (first[1] / "labels.nii.gz").read_bytes()
    assert GenerationRequest.read(first[0] / "request.json").surroundings == "whole"


def test_without_the_flag_nothing_of_it_is_written(engine, tmp_path):
    plain = request(surroundings=None)
    folder = engine.generate(plain, tmp_path / "out")[0]
    assert not {"surroundings", "volume_bundle"} & set(json.loads((folder / "request.json").read_text()))
    facts = manifest(folder)
    assert "bundles" not in facts and set(facts["seconds"]) == {"load", "mask", "volume", "write"}
    ends = np.cumsum([0.05, 0.11, 0.81, 0.03])
    assert [end for _, end in spans(plain).values()] == pytest.approx(ends)


def test_another_bundle_may_make_the_ct(engine, tmp_path, loaded):
    asked = request(volume_bundle="painter", volume_generator="guidegen")
    facts = manifest(engine.generate(asked, tmp_path / "out")[0])
    assert loaded[-1] == ("volume", "guidegen", "painter")
    assert facts["bundles"]["volume"]["bundle"] == "painter" and facts["bundle"] == "organs"
    with pytest.raises(BadRequest, match="has no volume generator 'sketch2ct'"):
        engine.generate(asked.with_changes(volume_generator="sketch2ct"), tmp_path / "other")


def test_progress_counts_the_stages_in_order_and_cancel_works_in_each(engine, tmp_path):
    heard = []
    engine.generate(request(), tmp_path / "out", Progress(report=lambda *values: heard.append(values)))
    assert list(dict.fromkeys(values[0] for values in heard)) == ["load", "mask", "surroundings", "volume", "write"]
    fractions = [values[3] for values in heard]
    assert fractions == sorted(fractions) and fractions[-1] == pytest.approx(1)
    around = [values for values in heard if values[0] == "surroundings"]
    assert around[-1][1] == around[-1][2] == 2 and around[-1][4] is not None  # steps, and the time left
    for stage in ("mask", "surroundings", "volume"):
        progress = Progress()
        progress.report = lambda now, *_, stage=stage, progress=progress: progress.cancel.set() if now == stage else None
        with pytest.raises(Cancelled):
            engine.generate(request(), tmp_path / stage, progress)
        assert not (tmp_path / stage).exists()


def test_too_little_memory_says_that_the_surroundings_may_be_left_out(folder, tmp_path):
    class Full:
        def generate(self, *_):
            raise MemoryError

    load = lambda name, *_: Full() if name == "guidegen" else EllipsoidMasks()  # noqa: E731
    engine = Engine(load, lambda *_: FlatVolumes(), lambda name: bundle.load(str(folder / name)))
    with pytest.raises(OutOfMemory, match="leave the surroundings out"):
        engine.generate(request(), tmp_path / "out")


def test_what_cannot_be_completed_is_refused_with_the_way_out(engine, folder, tmp_path):
    for changes, told in (
        ({"surroundings": "organs"}, "makes single structures"),
        ({"surroundings": "magnetic"}, "do not suit one another"),
    ):
        with pytest.raises(BadRequest, match=told):
            engine.generate(request(**changes), tmp_path / "out")
    with pytest.raises(BundleMissing, match=r"not installed.*bundles install FILE.*leave it out"):
        engine.generate(request(surroundings="nobody"), tmp_path / "out")
    with pytest.raises(BadRequest, match="makes the whole region anyway"):
        request(mask_generator="guidegen")
    make_bundle(folder, "heart", structures=["liver"])
    with pytest.raises(BadRequest, match="holds no liver"):
        engine.generate(request("liver", bundle="heart"), tmp_path / "out")


def test_the_completing_bundle_is_found(folder, monkeypatch):
    monkeypatch.setenv(bundle.ENVIRONMENT_VARIABLE, str(folder))
    assert pairing.completing("organs") == "whole" and pairing.completing("whole") == "whole"
    make_bundle(folder, "belly", structures=["liver"])
    with pytest.raises(BundleMissing, match="headneck-guidegen"):
        pairing.completing("belly")


def test_generators_are_fitted_to_the_bundles_that_are_named(folder, monkeypatch):
    monkeypatch.setenv(bundle.ENVIRONMENT_VARIABLE, str(folder))
    asked = pairing.fitted(request(volume_bundle="painter"), "mask", "volume")
    assert (asked.mask_generator, asked.volume_generator) == ("sketch2ct", "guidegen")
    assert pairing.fitted(GenerationRequest([], "a larynx", bundle="whole"), "mask").mask_generator == "guidegen"


def test_the_command_line_completes_and_says_what_is_missing(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(bundle.ENVIRONMENT_VARIABLE, str(folder))
    request(surroundings=None).write(tmp_path / "asked.json")
    make_bundle(folder, "belly", structures=["liver"])
    assert main(["generate", str(tmp_path / "asked.json"), "--out", str(tmp_path / "x"), "--complete", "--bundle", "belly"]) == 2
    assert "No installed bundle completes" in capsys.readouterr().err


def test_a_generator_that_adds_to_what_is_given_is_cut_back(engine):
    from sketch2ct.engine import compose

    given = LabelVolume(np.zeros((4, 4, 4), np.uint8), Grid.centred((0, 0, 0), (1, 1, 1), (4, 4, 4)), {1: RIGHT})
    given.array[0, 0, 0] = 1
    made = LabelVolume(np.full((4, 4, 4), 7, np.uint8), given.grid, {7: RIGHT})
    assert np.array_equal(compose(made, Plan((LEFT,), given.grid, given), list(STRUCTURES)).array, given.array)
