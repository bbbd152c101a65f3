"""The segmenter: trained on toys, resumed, loaded; and what synthetic scans are worth to it."""

import json

import numpy as np
import pytest
import torch

from sketch2ct.data.nnunet import Dataset
from sketch2ct.data.scans import Scan, build_scans
from sketch2ct.errors import BadRequest
from sketch2ct.evaluation import usefulness
from sketch2ct.evaluation.segmenter import Segmenter
from sketch2ct.geometry import Grid
from sketch2ct.imaging import CTVolume
from sketch2ct.networks.segmenter import SegmenterNetwork, SegmenterSize
from sketch2ct.training import segmenter_stage

METADATA = {"structures": ["brainstem", "mandible"], "frame": {"shape": [48, 48, 56], "spacing": [4.0, 4.0, 4.0]}}
SIZE = SegmenterSize(8, (1, 1), (1,), ((-1000, 1500), (-160, 240)), 2)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def trained(toy_root, segmenter_recipe, tmp_path_factory):
    out = tmp_path_factory.mktemp("segmenter")
    return segmenter_stage.train_segmenter(toy_root, out, METADATA, recipe=segmenter_recipe, device="cpu", steps=150, seed=3)


def toy_ct(toy_root, case="toy_07"):
    dataset = Dataset(toy_root)
    return dataset.image(case), dataset.labels(case)


def test_training_ends_after_its_steps_and_says_what_it_was(trained):
    settings = json.loads((trained / "segmenter.json").read_text())
    assert settings["trained"] | {"steps": 150, "seed": 3, "cases": 6, "split": "Tr", "kind": "real"} == settings["trained"]
    assert settings["structures"] == METADATA["structures"] and settings["spacing"] == [4.0, 4.0, 4.0]
    assert (trained / "last.ckpt").is_file()


def test_a_trained_segmenter_finds_the_mandible_on_any_grid(trained, toy_root):
    judge = Segmenter.load(trained, CPU)
    ct, labels = toy_ct(toy_root)
    found = judge.segment(ct)
    assert found.grid is ct.grid and found.names == {1: "brainstem", 2: "mandible"}
    truth = labels.mask("mandible")
    overlap = 2 * (found.mask("mandible") & truth).sum() / (found.mask("mandible").sum() + truth.sum())
    assert overlap > 0.4  # after 150 steps of a tiny network; by chance it is 0.06
    assert judge.about()["steps"] == 150 and len(judge.about()["sha256"]) == 64


def test_resuming_goes_on_from_the_last_step(toy_root, segmenter_recipe, tmp_path):
    settings = segmenter_stage.segmenter_settings(segmenter_recipe, METADATA, steps=5, seed=0)
    scans = build_scans(Dataset(toy_root), ["toy_01", "toy_02"], ("brainstem", "mandible"), (4.0, 4.0, 4.0), workers=1)
    for steps, resume in ((5, False), (15, True)):
        settings["steps"] = steps
        segmenter_stage.fit_segmenter(scans, [], settings, tmp_path, {}, resume=resume, device="cpu")
    assert json.loads((tmp_path / "segmenter.json").read_text())["trained"]["steps"] == 15
    rows = [line for log in tmp_path.glob("logs/*/metrics.csv") for line in log.read_text().splitlines()[1:]]
    assert len(rows) == 3  # epochs of 5 steps: one, then two more


def test_the_same_seed_and_steps_give_the_same_weights_and_another_seed_others(toy_root, segmenter_recipe, tmp_path):
    scans = build_scans(Dataset(toy_root), ["toy_01", "toy_02"], ("brainstem", "mandible"), (4.0, 4.0, 4.0), workers=1)
    made = {}
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        torch.rand(len(name) + seed)  # whatever happened before
        settings = segmenter_stage.segmenter_settings(segmenter_recipe, METADATA, steps=5, seed=seed)
        folder = segmenter_stage.fit_segmenter(scans, [], settings, tmp_path / name, {}, resume=False, device="cpu")
        made[name] = (folder / "weights.safetensors").read_bytes()
    assert made["a"] == made["b"] != made["c"]


def test_sigmoids_start_from_how_rare_structures_are_and_features_are_cells():
    torch.manual_seed(0)
    net = SegmenterNetwork(SIZE)
    hu = torch.full((1, 1, 16, 16, 16), 40.0)
    assert torch.sigmoid(net(hu)).mean().item() == pytest.approx(0.01, abs=0.005)
    assert SIZE.multiple == 4 and SIZE.features == 16
    assert net.bottleneck(hu).shape == (1, 16, 4, 4, 4)
    odd = Segmenter(net, {"structures": ["a", "b"], "spacing": [4, 4, 3]}, CPU)
    found, cell = odd.features(CTVolume(np.zeros((17, 16, 15), np.int16), Grid.centred((0, 0, 0), (4, 4, 3), (17, 16, 15))))
    assert found.shape == (16, 5, 4, 4) and cell == 4
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(found.std(axis=0), 1, atol=0.05)


def test_windows_spread_their_hu_over_minus_one_to_one():
    net = SegmenterNetwork(SIZE)
    hu = torch.tensor([-2000.0, -160.0, 40.0, 240.0]).repeat_interleave(2).reshape(1, 1, 8, 1, 1).expand(1, 1, 8, 2, 2)
    wide, soft = net.windowed(hu)[0, [0, 8], :, 0, 0]
    assert wide[0] == -1 and float(wide[2]) == pytest.approx(2 * 1040 / 2500 - 1)
    assert soft.tolist() == [-1, -1, 0, 1]


def scan_with(labelled, known=True):
    labels = np.zeros((2, 32, 32, 32), np.uint8)
    labels[0, 8:14] = labels[1, 18:24] = 255
    stored = np.full((32, 32, 32), known)
    stored[..., :4] = False
    return Scan("a", np.zeros((32, 32, 32), np.int16), labels, np.array(labelled), stored, Grid.centred((0, 0, 0), (4, 4, 4), (32, 32, 32)))


def test_what_is_not_contoured_or_not_stored_has_no_weight(segmenter_recipe):
    settings = segmenter_stage.segmenter_settings(segmenter_recipe, METADATA)
    batches = segmenter_stage.SegmentBatches([scan_with([True, False])], ("brainstem", "mandible"), settings, 0)
    rng = np.random.default_rng(0)
    for _ in range(5):
        hu, labels, weights = batches.crop(0, rng)
        assert hu.shape == (1, 24, 24, 24) and labels.shape == weights.shape == (2, 24, 24, 24)
        assert not weights[1].any() and weights[0].any()
        assert (np.abs(hu[0][weights[0] == 0] + 1000) < 200).all()  # air where nothing is known
    with pytest.raises(BadRequest, match="No training scan"):
        segmenter_stage.SegmentBatches([scan_with([False, False])], ("brainstem", "mandible"), settings, 0)


def test_unweighted_voxels_change_no_loss(segmenter_recipe, tmp_path):
    settings = segmenter_stage.segmenter_settings(segmenter_recipe, METADATA)
    stage = segmenter_stage.SegmenterStage(settings, tmp_path, 1, SIZE, [])
    hu, truth = torch.zeros(1, 1, 16, 16, 16), (torch.rand(1, 2, 16, 16, 16) > 0.5).float()
    weights = torch.ones_like(truth)
    weights[:, 1] = 0
    other = truth.clone()
    other[:, 1] = 1 - other[:, 1]
    assert float(stage.loss((hu, truth, weights))["loss"]) == float(stage.loss((hu, other, weights))["loss"])
    other[:, 0] = 1 - other[:, 0]
    assert float(stage.loss((hu, truth, weights))["loss"]) != float(stage.loss((hu, other, weights))["loss"])


def test_mirrored_crops_swap_the_names_of_left_and_right(segmenter_recipe):
    pair = METADATA | {"structures": ["parotid_gland_right", "parotid_gland_left"]}
    settings = segmenter_stage.segmenter_settings(segmenter_recipe, pair)
    scan = scan_with([True, True])  # the first lies at lower i than the second
    batches = segmenter_stage.SegmentBatches([scan], tuple(pair["structures"]), settings, 0)
    rng = np.random.default_rng(0)
    for _ in range(12):
        _, labels, _ = batches.crop(0, rng)
        at = [np.argwhere(part > 0.5)[:, 0] for part in labels]
        if len(at[0]) and len(at[1]):
            assert at[0].mean() < at[1].mean()


@pytest.mark.parametrize("damage", ["missing", "settings", "weights"])
def test_a_damaged_folder_is_refused(trained, tmp_path, damage):
    for name in ("segmenter.json", "weights.safetensors"):
        (tmp_path / name).write_bytes((trained / name).read_bytes())
    if damage == "missing":
        (tmp_path / "segmenter.json").unlink()
    elif damage == "settings":
        (tmp_path / "segmenter.json").write_text("{}")
    else:
        (tmp_path / "weights.safetensors").write_bytes(b"none")
    with pytest.raises(BadRequest, match=r"[Tt]rain"):
        Segmenter.load(tmp_path, CPU)


def test_other_recipes_are_refused():
    with pytest.raises(BadRequest, match="no recipe of a segmenter"):
        segmenter_stage.segmenter_settings("headneck", METADATA)


class Eraser:
    """Makes soft tissue with no structure in it."""

    calls = 0

    def generate(self, labels, text, rng, progress, *, steps=None):
        Eraser.calls += 1
        return CTVolume(np.full(labels.grid.shape, 40, np.int16), labels.grid)


class Repeater:
    """Makes the mandible as it is in the toys."""

    def generate(self, labels, text, rng, progress, *, steps=None):
        hu = np.full(labels.grid.shape, 40, np.int16)
        hu[labels.mask("brainstem")], hu[labels.mask("mandible")] = 30, 800
        return CTVolume(hu, labels.grid)


def test_a_synthetic_scan_is_the_generated_ct_under_the_same_contours(toy_root):
    (scan,) = build_scans(Dataset(toy_root), ["toy_01"], ("brainstem", "mandible"), (4.0, 4.0, 4.0), workers=1)
    made = usefulness.synthetic(scan, ("brainstem", "mandible"), Repeater(), 0, 2)
    assert made.case == "toy_01-2" and made.grid is scan.grid
    np.testing.assert_array_equal(made.labels, scan.labels)
    assert (made.hu[scan.labels[1] > 127] == 800).all() and (made.hu[scan.labels[:2].max(0) == 0] == 40).all()


def test_training_on_scans_without_structures_is_worth_nothing(toy_root, segmenter_recipe, tmp_path):
    def measured(resume):
        dataset = Dataset(toy_root)
        options = {"steps": 40, "training": 3, "recipe": segmenter_recipe, "device": "cpu", "resume": resume, "say": lambda text: None}
        return usefulness.measure_usefulness(dataset, "Va", ["toy_07", "toy_08"], METADATA, Eraser(), 0, tmp_path, **options)

    Eraser.calls = 0
    records, found = measured(False)
    assert Eraser.calls == 3 and [r["case"] for r in records] == ["toy_07", "toy_08"]
    assert found["mandible"]["real"]["mean"] > 0.25  # after 40 steps of a tiny network
    assert found["mandible"]["synthetic_to_real"]["mean"] < 0.5
    assert found["about"] == {"split": "Va", "training_cases": 3, "samples": 1, "steps": 40, "seed": 0}
    stamp = (tmp_path / "real" / "weights.safetensors").stat().st_mtime_ns
    assert measured(True) == (records, found) and Eraser.calls == 3
    assert (tmp_path / "real" / "weights.safetensors").stat().st_mtime_ns == stamp


def test_usefulness_weighs_structures_and_refuses_the_training_split(toy_root, tmp_path):
    records = [
        {"case": "a", "real": {"x": 0.8, "y": 0.4}, "synthetic": {"x": 0.4, "y": 0.4}, "both": {"x": 0.8, "y": 0.8}},
        {"case": "b", "real": {"x": 0.8}, "synthetic": {"x": 0.4}, "both": {"x": 0.8}},
    ]
    found = usefulness.summarise(records, 0)
    assert found["x"]["synthetic_to_real"]["mean"] == 0.5 and found["y"]["both_to_real"]["mean"] == 2
    assert found["overall"]["real"]["mean"] == pytest.approx(0.6)
    assert found["overall"]["synthetic_to_real"]["mean"] == pytest.approx(0.4 / 0.6, abs=1e-4)
    with pytest.raises(BadRequest, match="trained on Tr"):
        usefulness.measure_usefulness(Dataset(toy_root), "Tr", ["toy_01"], METADATA, Eraser(), 0, tmp_path)
