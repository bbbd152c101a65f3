"""Training end to end on a toy data set: prepared data, three stages, resume, a bundle that verifies and generates."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import yaml

from sketch2ct import bundle
from sketch2ct.data.cache import load_scans, load_shapes
from sketch2ct.data.shapes import sample
from sketch2ct.engine import Engine
from sketch2ct.errors import BadRequest
from sketch2ct.request import GenerationRequest
from sketch2ct.training.autoencoder_stage import CropBatches
from sketch2ct.training.export import _tables
from sketch2ct.training.loop import Average, rate
from sketch2ct.training.run import read_recipe, train
from sketch2ct.training.volume_stage import label_subset, mirror_order

BOX = {"shape": [24, 24, 24], "spacing": [4, 4, 4]}
QUICK = {
    "batch": 2,
    "learning_rate": 1e-3,
    "average": 0.9,
    "steps_per_epoch": 2,
    "check_every": 1,
    "checks": 1,
    "minutes": 0.03,
    "workers": 0,
}
RECIPE = {
    "bundle": "toy",
    "card": "headneck",
    "data": "toy heads made of ellipsoids",
    "structures": ["brainstem", "mandible"],
    "train": "Tr",
    "choose": "Va",
    "seed": 0,
    "boxes": {"brainstem": BOX, "mandible": BOX},
    "frame": {"shape": [48, 48, 48], "spacing": [4, 4, 4]},
    "shapes": {"variants": 2, "sentences": 2},
    "mask": QUICK
    | {
        "network": {"channels": [16, 16], "attention": [False, True], "blocks": 1, "head": 8, "width": 32},
        "dice_weight": 0.0,
        "weights": {},
    },
    "autoencoder": QUICK | {"network": {"channels": [16, 16], "blocks": 1, "latent": 4}, "crop": 32, "kl_weight": 1e-5},
    "volume": QUICK
    | {
        "network": {"channels": [16, 16], "attention": [False, True], "blocks": 1, "head": 8, "detail": 8},
        "atlas": [10, 10, 10],
        "window": [16, 16, 16],
    },
    "sampling": {
        "mask_steps": 2,
        "volume_steps": 2,
        "guidance": 1.0,
        "temperature": 1.0,
        "volume_temperature": 1.0,
        "volume_guidance": 1.5,
    },
}


@pytest.fixture(scope="module")
def trained(toy_root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("training")
    recipe = folder / "toy.yaml"
    recipe.write_text(yaml.safe_dump(RECIPE))
    train(str(recipe), toy_root, folder / "run", device="cpu")
    return folder


def test_a_run_ends_with_a_bundle_that_generates(trained, monkeypatch, tmp_path):
    monkeypatch.setenv("SKETCH2CT_BUNDLES", str(trained / "run" / "bundle"))
    shipped = bundle.load("toy")
    assert shipped.metadata["training"]["data"] == RECIPE["data"]
    made = Engine().generate(GenerationRequest([], "a brainstem of 20 mL", bundle="toy"), tmp_path / "out")
    assert json.loads((made[0] / "manifest.json").read_text())["bundle"] == "toy"
    assert (trained / "run" / "curves.png").stat().st_size > 10_000


def test_a_resumed_stage_goes_on_from_its_last_step(trained, toy_root):
    run = trained / "run"
    before = torch.load(run / "mask" / "last.ckpt", weights_only=False)["global_step"]
    train(str(trained / "toy.yaml"), toy_root, run, stage="mask", resume=True, minutes=0.02, device="cpu")
    after = torch.load(run / "mask" / "last.ckpt", weights_only=False)["global_step"]
    assert after > before
    assert len(list((run / "mask" / "logs").glob("version_*/metrics.csv"))) == 2


def test_a_structure_that_was_not_contoured_has_no_shape_and_no_channel(trained):
    cache = trained / "run" / "cache"
    shapes = {(s.case, s.structure) for s in load_shapes(cache / "shapesVa")}
    assert ("toy_09", "brainstem") in shapes and ("toy_09", "mandible") not in shapes
    scans = {scan.case: scan for scan in load_scans(cache / "scansVa")}
    assert scans["toy_09"].labelled.tolist() == [True, False, True, True, True]


def test_a_variant_is_the_shape_moved_with_its_outlines_facts_and_name(trained):
    for shape in load_shapes(trained / "run" / "cache" / "shapesTr"):
        for variant in shape.variants:
            distance = sample(shape.distance, shape.grid, shape.grid, variant.transform)
            linear = variant.transform[:3, :3]
            assert shape.grid.voxel_ml * (distance > 0).sum() == pytest.approx(variant.facts.volume_ml, rel=0.12)
            assert variant.facts.volume_ml == pytest.approx(shape.variants[0].facts.volume_ml * abs(np.linalg.det(linear)), rel=0.12)
            line = variant.outlines[0].lines[0].astype(float)
            index = shape.grid.to_index((line - variant.transform[:3, 3]) @ np.linalg.inv(linear).T)
            on_surface = [shape.distance[tuple(np.round(i).astype(int))] / 8 for i in index]
            assert np.abs(on_surface).mean() < 3.0  # mm; voxels are 3 mm


def test_label_subsets_hold_only_what_is_available_and_vary():
    rng = np.random.default_rng(0)
    available = np.array([True, False, True, True, True, True])
    chosen = np.array([label_subset(available, 3, rng) for _ in range(400)])
    assert not chosen[:, 1].any()
    structures = chosen[:, :3].sum(1)
    assert {0, 1, 2} <= set(structures.tolist())
    assert 0.02 < (~chosen.any(1)).mean() < 0.2  # unconditional
    assert chosen[:, 3:].all(1).any() and (~chosen[:, 3:].any(1)).any()


def test_a_mirror_swaps_left_and_right():
    names = ("brainstem", "parotid_gland_right", "parotid_gland_left", "body")
    assert mirror_order(names) == [0, 2, 1, 3]


def test_the_learning_rate_starts_low_and_ends_low():
    assert rate(0.0) < 0.01 and rate(0.3) == 1.0 and rate(1.0) < 0.01
    assert rate(0.8) == pytest.approx(0.5)


def test_the_average_forgets_its_random_start():
    average, value = Average(0.999), torch.zeros(1)
    for n in range(200):
        value = average(value, torch.ones(1), n)
    assert float(value) > 0.99


def test_scans_smaller_than_the_crop_are_refused_not_waited_for(trained):
    scans = load_scans(trained / "run" / "cache" / "scansTr")
    with pytest.raises(BadRequest, match="smaller crop"):
        CropBatches(scans, {"crop": 64, "batch": 1}, 0)


def test_an_unknown_recipe_is_named_with_the_known_ones():
    with pytest.raises(BadRequest, match="headneck"):
        read_recipe("torso")


def test_the_card_of_a_region_quotes_what_was_measured_on_regions(tmp_path):
    text = (
        "# headneck\n\n`command`\n\n## Masks\none\n\n## Whole regions of x\ntwo\n\n### Pairings\nthree\n![a](a.png)\n\n## Seconds\nfour\n"
    )
    (tmp_path / "report.md").write_text(text)
    regional = "`command`\n\n### Whole regions of x\ntwo\n\n#### Pairings\nthree"
    assert _tables(tmp_path, regional=True) == regional
    assert _tables(tmp_path) == regional.replace("### Whole", "### Masks\none\n\n### Whole") + "\n\n### Seconds\nfour"
