"""The Gaussian baseline of whole regions: trained on toy heads, and drawn from."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
import yaml

from sketch2ct.cli import main
from sketch2ct.errors import BadRequest
from sketch2ct.generation import MaskCondition, Progress
from sketch2ct.geometry import Grid
from sketch2ct.masks.gaussian import SETTINGS, GaussianRegions
from sketch2ct.training import region_baseline
from sketch2ct.training.run import read_recipe

TINY = {"coder": [8, 8], "latent": 2, "channels": [8, 16], "attention": [False, True], "blocks": 1, "head": 8}


@pytest.fixture(scope="module")
def trained(toy_root, tmp_path_factory):
    """A baseline of toy heads, whose jaws are called larynx: they are too small for a mandible that training could use."""
    folder = tmp_path_factory.mktemp("baseline")
    shutil.copytree(toy_root, folder / "data")
    described = folder / "data" / "dataset.json"
    described.write_text(described.read_text().replace("mandible", "larynx"))
    settings = read_recipe("headneck-guidegen")
    settings |= {"bundle": "toy", "data": "toy heads", "structures": ["brainstem", "larynx"], "workers": 1}
    settings["frame"] = {"shape": [24, 24, 24], "spacing": [6.0, 6.0, 8.0]}
    settings["mask"] |= {"batch": 2, "workers": 0, "average": 0.5}
    (folder / "toy.yaml").write_text(yaml.safe_dump(settings))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(region_baseline, "PACE", {"steps_per_epoch": 2, "check_every": 1, "checks": 1, "steps": 4})
        own = {"minutes": 0.05, "device": "cpu", "network": TINY}
        region_baseline.train_baseline(str(folder / "toy.yaml"), folder / "data", folder / "out", **own)
    return folder


def test_what_is_drawn_is_a_class_map_of_the_frame_and_seeded(trained):
    generator = GaussianRegions.load(trained / "out", torch.device("cpu"))
    grid = Grid.centred((3, 0, 0), (6, 6, 8), (24, 24, 24))
    first, again, other = (
        generator.generate(MaskCondition((), (), "", grid), torch.Generator().manual_seed(seed), Progress()) for seed in (0, 0, 1)
    )
    assert first.grid.matches(grid) and set(np.unique(first.array)) <= {0, *first.names}
    assert set(first.names.values()) == {"body", "bone", "air", "brainstem", "larynx"}
    assert first.array.tobytes() == again.array.tobytes() != other.array.tobytes()


def test_a_resumed_training_leaves_the_finished_autoencoder_alone(trained, monkeypatch):
    folder = trained / "again"
    shutil.copytree(trained / "out", folder)
    coder = (folder / "coder" / "weights.safetensors").read_bytes()
    monkeypatch.setattr(region_baseline, "PACE", {"steps_per_epoch": 2, "check_every": 1, "checks": 1, "steps": 6})
    own = {"minutes": 0.05, "device": "cpu", "network": TINY, "resume": True}
    region_baseline.train_baseline(str(trained / "toy.yaml"), trained / "data", folder, **own)
    steps = [json.loads((folder / part / "steps.json").read_text())["steps"] for part in ("coder", "net")]
    assert steps == [4, 6] and (folder / "coder" / "weights.safetensors").read_bytes() == coder
    assert GaussianRegions.load(folder, torch.device("cpu")).about()["minutes"] == 0.1


def test_it_says_what_it_was_trained_on_and_how_large_it_is(trained):
    about = GaussianRegions.load(trained / "out", torch.device("cpu")).about()
    assert about["cases"] == 6 and about["split"] == "Tr" and about["parameters"] > 0 and about["parameters_categorical"] > 0


def test_the_shipped_sizes_are_alike():
    size = region_baseline.GaussianSize.from_dict({"classes": 11, **region_baseline.NETWORK})
    ours = sum(p.numel() for p in region_baseline.RegionNetwork(region_baseline.region_size(read_recipe("headneck-guidegen"))).parameters())
    theirs = sum(p.numel() for net in (region_baseline.denoiser(size), region_baseline.MapAutoencoder(size)) for p in net.parameters())
    assert 0.9 < theirs / ours < 1.15


def test_what_cannot_be_read_or_trained_is_refused(trained, tmp_path, capsys):
    with pytest.raises(BadRequest, match="train-region-baseline"):
        GaussianRegions.load(tmp_path, torch.device("cpu"))
    (tmp_path / SETTINGS).write_text(json.dumps({"network": 3}))
    with pytest.raises(BadRequest, match="no baseline"):
        GaussianRegions.load(tmp_path, torch.device("cpu"))
    arguments = ["train-region-baseline", "--data", str(trained / "data"), "--out", str(tmp_path / "x"), "--recipe", "headneck"]
    assert main(arguments) == 2 and "trains no whole regions" in capsys.readouterr().err
