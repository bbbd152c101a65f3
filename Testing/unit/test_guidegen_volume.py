"""GuideGen's CT half: the class map it is given, contrast, the network, and from training on toy heads to a bundle that makes CTs."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
import yaml

from sketch2ct import bundle
from sketch2ct.cli import main
from sketch2ct.data.cache import load_scans
from sketch2ct.engine import Engine
from sketch2ct.errors import BadRequest, Cancelled
from sketch2ct.generation import Progress
from sketch2ct.geometry import Grid
from sketch2ct.imaging import HU_MAX, HU_MIN, LabelVolume, read_ct, read_image
from sketch2ct.masks.region_classes import UNKNOWN, RegionClasses
from sketch2ct.networks.autoencoder import AutoencoderSize, CTAutoencoder
from sketch2ct.networks.volume_unet import VolumeNetwork, VolumeNetworkSize
from sketch2ct.request import GenerationRequest
from sketch2ct.training.region_data import prepared_regions, region_classes
from sketch2ct.training.region_volume_stage import RegionLatentBatches, RegionVolumeStage, part_of, region_latent
from sketch2ct.training.run import read_recipe, train
from sketch2ct.training.sizes import region_volume_size
from sketch2ct.volumes import load
from sketch2ct.volumes.class_map import CONTRASTS, UNTOLD, WITH, WITHOUT, class_map, condition
from sketch2ct.volumes.guidegen import GuideGenVolumes

CLASSES = RegionClasses(("body", "bone", "air"), ("brainstem", "mandible"))
SPACING = (4.0, 4.0, 3.0)
FRAME = Grid.centred((0, 0, 0), SPACING, (32, 32, 32))
SMALL_MASK = {"channels": [16, 16], "attention": [False, True], "blocks": 1, "head": 8, "width": 16, "queries": 4}
SMALL_MASK |= {"codes": 6, "features": 4, "detail": 8}
SMALL_VOLUME = {"channels": [16, 16], "attention": [False, True], "blocks": 1, "head": 8, "detail": 8, "encoder": 4}
QUICK = {"batch": 2, "steps_per_epoch": 2, "check_every": 1, "checks": 1, "minutes": 0.03, "workers": 0, "average": 0.5, "steps": None}


@pytest.fixture(scope="module")
def generator() -> GuideGenVolumes:
    torch.manual_seed(0)
    net = VolumeNetwork(VolumeNetworkSize((16, 16), (False, True), 1, 8, 4, CLASSES.count + CONTRASTS, 8, encoder=4, atlas=False))
    for parameter in net.parameters():
        if parameter.ndim > 1 and not parameter.detach().any():
            torch.nn.init.normal_(parameter, std=0.05)
    return GuideGenVolumes(net, CTAutoencoder(AutoencoderSize((16, 16), 1, 4)), CLASSES, SPACING, steps=2, device=torch.device("cpu"))


def region(grid: Grid = FRAME) -> LabelVolume:
    """A body of soft tissue with bone, air, a brainstem and a mandible in it; its values are not those of the classes."""
    array = np.zeros(grid.shape, np.uint8)
    n = np.array(grid.shape)
    for value, (low, high) in {9: (2, 14), 4: (4, 6), 7: (6, 8), 2: (8, 10), 3: (10, 12)}.items():
        array[tuple(slice(a, b) for a, b in zip(n * low // 16, n * high // 16, strict=True))] = value
    return LabelVolume(array, grid, {9: "body", 4: "bone", 7: "air", 2: "brainstem", 3: "mandible"})


def run(generator: GuideGenVolumes, labels: LabelVolume, text: str = "", seed: int = 0):
    return generator.generate(labels, text, torch.Generator().manual_seed(seed), Progress())


# The class map


def test_a_complete_map_becomes_classes_and_outside_air():
    labels = region()
    found = class_map(labels, CLASSES, FRAME)
    for value, name in labels.names.items():
        assert np.array_equal(found == CLASSES.index(name), labels.array == value)
    assert np.array_equal(found == 0, labels.array == 0)


def test_what_a_map_without_a_body_does_not_label_is_not_known():
    labels = region()
    labels.array[labels.array == 9] = 0
    del labels.names[9]
    found = class_map(labels, CLASSES, FRAME)
    assert set(np.unique(found)) == {CLASSES.index(name) for name in ("bone", "air", "brainstem", "mandible")} | {UNKNOWN}
    assert np.array_equal(found == UNKNOWN, labels.array == 0)


def test_beyond_the_maps_own_grid_nothing_is_known():
    wide = Grid.centred((0, 0, 0), SPACING, (48, 32, 32))
    found = class_map(region(), CLASSES, wide)
    assert (found[:8] == UNKNOWN).all() and (found[-8:] == UNKNOWN).all()
    assert np.array_equal(found[8:-8], class_map(region(), CLASSES, FRAME))


def test_a_finer_map_gives_the_class_of_most_of_a_voxel():
    fine = Grid(tuple(2 * n for n in FRAME.shape), FRAME.affine @ np.diag([0.5, 0.5, 0.5, 1.0]))
    fine.affine[:3, 3] -= np.array(SPACING) / 4
    small = region()
    array = small.array.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    found = class_map(LabelVolume(array, fine, small.names), CLASSES, FRAME)
    assert (found == class_map(small, CLASSES, FRAME)).mean() > 0.97


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda v: v.array.fill(0), "empty"),
        (lambda v: v.names.update({9: "liver"}), "does not know 'liver'"),
        (lambda v: v.names.pop(4), "value 4, which has no name"),
        (lambda v: setattr(v, "array", np.where(v.array == 9, np.nan, v.array.astype(np.float32))), "NaN"),
        (lambda v: setattr(v, "array", v.array.astype(np.int16) - 1), "negative"),
    ],
)
def test_bad_maps_are_refused(generator, change, match):
    labels = region()
    change(labels)
    with pytest.raises(BadRequest, match=match):
        run(generator, labels)


def test_the_condition_has_one_channel_a_class_and_one_a_contrast():
    found = torch.tensor([[[[0, 3], [UNKNOWN, 5]]]] * 3, dtype=torch.uint8)
    made = condition(found, CLASSES.count, torch.tensor([UNTOLD, WITHOUT, WITH]))
    assert made.shape == (3, CLASSES.count + CONTRASTS, 1, 2, 2)
    assert made[0, :, 0, 0, 1].tolist() == [0, 0, 0, 1, 0, 0, 0, 0]
    assert made[1, :, 0, 1, 0].tolist() == [0, 0, 0, 0, 0, 0, 1, 0]  # unknown
    assert made[2, :, 0, 1, 1].tolist() == [0, 0, 0, 0, 0, 1, 0, 1]


# The generator


@pytest.mark.parametrize("shape", [(30, 25, 41), (64, 32, 32)])
def test_the_ct_has_the_maps_grid_whatever_it_is(generator, shape):
    grid = Grid(shape, np.array([[-3.0, 0.4, 0, 40], [0.3, 3.5, 0, -45], [0, 0, 2.0, -50], [0, 0, 0, 1]]))
    ct = run(generator, region(grid))
    assert ct.grid is grid and ct.array.shape == shape and ct.array.dtype == np.int16
    assert ct.array.min() >= HU_MIN and ct.array.max() <= HU_MAX


@pytest.mark.parametrize("change", ["map", "seed", "contrast"])
def test_map_seed_and_contrast_change_the_ct_and_other_words_do_not(generator, change):
    first = run(generator, region())
    assert np.array_equal(first.array, run(generator, region(), "A small mandible in a bone window.").array)
    labels = region()
    if change == "map":
        labels.array[:] = np.roll(labels.array, 6, axis=0)
    other = run(generator, labels, "with contrast" if change == "contrast" else "", seed=int(change == "seed"))
    assert not np.array_equal(first.array, other.array)


def test_a_user_can_stop_it(generator):
    progress = Progress()
    progress.cancel.set()
    with pytest.raises(Cancelled):
        generator.generate(region(), "", torch.Generator(), progress)


def test_a_label_is_seen_by_the_cells_around_it_but_not_far_away(generator):
    found = torch.full((1, 32, 32, 32), UNKNOWN, dtype=torch.uint8)
    given = found.clone()
    given[:, 12:16, 12:16, 12:16] = 4
    untold = torch.tensor([UNTOLD])
    with torch.no_grad():
        (_, without), (_, cells) = (generator.net.codes(condition(x, CLASSES.count, untold)) for x in (found, given))
    changed = (cells - without).abs().sum(1)[0] > 1e-7
    assert changed[3, 3, 3] and changed[2, 3, 3] and not changed[:1].any() and not changed[6:].any()


# Training


def test_parts_of_a_map_follow_their_shares_and_are_true():
    rng = np.random.default_rng(0)
    labels = np.array([[[0, 1, 2, 3, 4, 5, UNKNOWN]]], np.uint8)
    beneath = np.array([[[0, 1, 2, 3, 1, 2, UNKNOWN]]], np.uint8)
    kinds = {"all": 0.4, "some": 0.2, "bare": 0.3, "none": 0.1}
    made = np.concatenate([part_of(labels, beneath, CLASSES, rng, kinds) for _ in range(1000)])[:, 0]
    whole = (made == labels[0]).all(1)
    bare = (made[:, 1] == UNKNOWN) & (made != UNKNOWN).any(1)
    none = (made == UNKNOWN).all(1)
    some = ~whole & ~bare & ~none
    assert none.mean() == pytest.approx(0.1, abs=0.03) and bare.mean() == pytest.approx(0.3, abs=0.05)
    assert whole.mean() == pytest.approx(0.4 + 0.05, abs=0.05)  # "some" may be all
    assert (made[some, :4] == labels[0, 0, :4]).all()
    assert (np.isin(made[some, 4], [4, 1]) & np.isin(made[some, 5], [5, 2])).all()
    assert np.isin(made[bare, 4], [4, UNKNOWN]).all() and (made[bare, :4] == UNKNOWN).all()


@pytest.fixture(scope="module")
def heads(toy_root, tmp_path_factory):
    """The toy heads, whose jaws are called larynx: they are too small for a mandible that training could use."""
    root = tmp_path_factory.mktemp("heads") / "data"
    shutil.copytree(toy_root, root)
    description = root / "dataset.json"
    description.write_text(description.read_text().replace("mandible", "larynx"))
    return root


@pytest.fixture(scope="module")
def recipe():
    """The shipped recipe for the toy heads, with tiny networks on a coarse frame."""
    settings = read_recipe("headneck-guidegen")
    settings |= {"bundle": "toy", "data": "toy heads", "structures": ["brainstem", "larynx"], "workers": 1}
    settings["frame"] = {"shape": [32, 32, 32], "spacing": [6.0, 6.0, 6.0]}
    settings["mask"] |= QUICK | {"network": SMALL_MASK, "statements": 4, "samples": 1, "sample_steps": 2}
    settings["autoencoder"] |= QUICK | {"network": {"channels": [16, 16], "blocks": 1, "latent": 4, "linear": True}, "crop": 16}
    settings["volume"] |= QUICK | {"network": SMALL_VOLUME, "window": [12, 12, 12]}  # the deepest level is 3 cells wide, see `headneck`
    settings["sampling"] = {"region": {"steps": 2}, "region_volume": {"steps": 2, "temperature": 1.0}}
    return settings


@pytest.fixture(scope="module")
def trained(recipe, heads, tmp_path_factory):
    folder = tmp_path_factory.mktemp("guidegen")
    (folder / "toy.yaml").write_text(yaml.safe_dump(recipe))
    (folder / "run").mkdir()
    (folder / "run" / "sheet.png").write_bytes(b"a picture")
    train(str(folder / "toy.yaml"), heads, folder / "run", device="cpu")
    return folder


@pytest.fixture
def shelf(trained, monkeypatch):
    monkeypatch.setenv(bundle.ENVIRONMENT_VARIABLE, str(trained / "run" / "bundle"))


@pytest.fixture(scope="module")
def cases(trained, recipe, heads):
    """The validation cases, straight and mirrored, encoded by the trained autoencoder."""
    from sketch2ct.data.nnunet import Dataset

    cache, classes = trained / "run" / "cache", region_classes(recipe)
    net = CTAutoencoder(AutoencoderSize.from_dict(recipe["autoencoder"]["network"])).eval()
    regions = {r.case: r for r in prepared_regions(Dataset(heads), "Va", recipe, cache)}
    scans = [scan for scan in load_scans(cache / "scansVa") if scan.case in regions]
    return [region_latent(net, s, regions[s.case], classes, mirror=m, contrast=WITH) for s in scans for m in (False, True)]


def test_a_window_holds_the_classes_of_its_own_cells(cases, recipe):
    classes = region_classes(recipe)
    batches = RegionLatentBatches(cases, classes, recipe["volume"] | {"given": {"all": 1.0}, "silence": 0.0}, 0)
    stem, seen = classes.index("brainstem"), 0
    for n in range(12):
        latent, labels, contrast, known = batches.window(cases[n % len(cases)], np.random.default_rng(n))
        assert latent.shape == (4, 12, 12, 12) and labels.shape == (48, 48, 48) and known.shape == (1, 12, 12, 12) and int(contrast) == WITH
        own = cases[n % len(cases)].region
        assert int((labels == stem).sum()) <= int((own.labels == stem).sum())
        assert not bool(((latent == 0).all(0) & known[0].bool()).any())  # what is known was really encoded
        seen += int((labels == stem).sum())
    assert seen


def test_a_mirrored_case_is_the_case_mirrored(cases):
    straight, mirrored = cases[:2]
    assert np.array_equal(mirrored.region.labels, straight.region.labels[::-1])  # neither structure has a side
    assert np.array_equal(mirrored.beneath.labels, straight.beneath.labels[::-1])
    assert mirrored.latent.shape == straight.latent.shape and np.array_equal(mirrored.known, straight.known[::-1])


def test_the_loss_falls_when_it_is_minimised(cases, recipe, tmp_path):
    torch.manual_seed(0)
    classes = region_classes(recipe)
    batches = RegionLatentBatches(cases, classes, recipe["volume"], 0)
    stage = RegionVolumeStage(recipe["volume"], tmp_path, 1.0, region_volume_size(recipe), [], classes, torch.tensor([4.0, 2.0, 1.0, 1.0]))
    assert stage.channels.flatten().tolist() == [2.0, 1.0, 0.5, 0.5]
    batch, noise = next(iter(batches)), torch.randn(2, 4, 12, 12, 12)
    optimizer, seen = torch.optim.Adam(stage.parameters(), 2e-3), []
    for _ in range(30):
        optimizer.zero_grad()
        loss = stage._error(batch, torch.tensor([0.9, 0.7]), noise, emphasis=3.0).mean()
        loss.backward()
        optimizer.step()
        seen.append(float(loss.detach()))
    assert np.isfinite(seen).all() and seen[-1] < 0.8 * seen[0]


def test_a_bundle_is_whole_and_says_what_it_holds(trained, shelf, capsys):
    assert main(["bundles", "verify"]) == 0
    assert "toy" in capsys.readouterr().out
    made = bundle.load("toy")
    assert made.metadata["generators"] == {"mask": ["guidegen"], "volume": ["guidegen"]}
    assert {"region", "region_volume", "derived", "placement", "ranges", "hu", "text_encoder"} <= set(made.metadata)
    assert set(made.metadata["region_volume"]["contrast"]) == {"with", "without", "untold"}
    assert sorted(p.stem for p in (made.folder / "models").iterdir()) == [
        "region",
        "region_decoder",
        "region_law",
        "region_prior",
        "region_volume",
    ]
    card = (made.folder / "docs" / "README.md").read_text()
    assert "GuideGen" in card and "{" not in card and "](sheet.png)" in card
    assert (made.folder / "docs" / "sheet.png").read_bytes() == b"a picture"
    assert "headneck-guidegen" in (made.folder / "LICENSE").read_text()


def test_from_text_alone_to_a_ct_twice_the_same(shelf, tmp_path):
    told = "A small brainstem. The larynx is wide. With contrast, in a bone window."
    request = GenerationRequest(
        [], told, bundle="toy", mask_generator="guidegen", volume_generator="guidegen", seed=5, steps=2, device="cpu"
    )
    request.write(tmp_path / "request.json")
    assert main(["generate", str(tmp_path / "request.json"), "--out", str(tmp_path / "first")]) == 0
    again = Engine().generate(request, tmp_path / "again")[0]
    labels, grid = read_image(tmp_path / "first" / "labels.nii.gz")
    ct = read_ct(tmp_path / "first" / "ct.nii.gz")
    assert grid.shape == (32, 32, 32) == ct.array.shape and labels.any() and ct.array.std() > 0
    for name in ("labels.nii.gz", "ct.nii.gz"):
        assert (tmp_path / "first" / name).read_bytes() == (again / name).read_bytes()
    quality = json.loads((again / "manifest.json").read_text())["quality"]
    assert quality["display"] == {"window": "bone", "level": 500, "width": 2000}
    assert quality["contrast"] == {"asked": "with", "heeded": False}  # all toy heads are alike
    assert any("was not heeded" in warning for warning in quality["warnings"])


def test_each_stage_of_the_ct_resumes(trained, heads):
    run = trained / "run"
    for stage in ("autoencoder", "volume"):
        before = json.loads((run / stage / "steps.json").read_text())["steps"]
        train(str(trained / "toy.yaml"), heads, run, stage=stage, resume=True, minutes=0.02, device="cpu")
        assert json.loads((run / stage / "steps.json").read_text())["steps"] > before


def test_a_volume_stage_without_its_autoencoder_is_refused(trained, heads, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "cache").symlink_to(trained / "run" / "cache")
    with pytest.raises(BadRequest, match="no trained autoencoder"):
        train(str(trained / "toy.yaml"), heads, tmp_path / "run", stage="volume", device="cpu")
    with pytest.raises(BadRequest, match="stage 'mask' has not been trained"):
        train(str(trained / "toy.yaml"), heads, tmp_path / "run", stage="bundle", device="cpu")


def test_a_bundle_of_another_system_is_refused_with_the_way_out(shelf):
    made = bundle.load("toy")
    with pytest.raises(BadRequest, match="'guidegen'"):
        load("sketch2ct", made, torch.device("cpu"))
    other = bundle.Bundle(made.folder, {key: value for key, value in made.metadata.items() if key != "region_volume"})
    with pytest.raises(BadRequest, match="no CT model of GuideGen"):
        load("guidegen", other, torch.device("cpu"))
