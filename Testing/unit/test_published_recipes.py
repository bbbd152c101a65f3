"""The recipes of the published sets, from the published layout to a report: convert, train, generate, evaluate; with tiny networks."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest
import yaml

from dicom_files import provide_pydicom
from published_sets import make_avt, make_chaos, make_msd_heart, make_msd_liver
from sketch2ct import bundle
from sketch2ct.anatomy import vocabulary
from sketch2ct.cli import main
from sketch2ct.errors import BadRequest
from sketch2ct.training.run import RECIPES, read_recipe, train

SETS = {
    "chaos-liver": ("chaos", make_chaos),
    "avt-aorta": ("avt", make_avt),
    "msd-liver": ("msd", make_msd_liver),
    "msd-heart": ("msd", make_msd_heart),
}
QUICK = {"batch": 2, "steps_per_epoch": 1, "check_every": 1, "checks": 1, "minutes": 0.005, "workers": 0, "average": 0.5}
SMALL = {
    "mask": {"network": {"channels": [16, 16], "attention": [False, True], "blocks": 1, "head": 8, "width": 32}},
    "autoencoder": {"network": {"channels": [16, 16], "blocks": 1, "latent": 4}, "crop": 16},
    "volume": {
        "network": {"channels": [16, 16], "attention": [False, True], "blocks": 1, "head": 8, "detail": 8},
        "atlas": [8, 8, 8],
        "window": [16, 16, 16],
    },
}


def tiny(name):
    """The shipped recipe with small networks, coarse boxes and frame, and no time."""
    recipe = read_recipe(name)
    (structure,) = recipe["structures"]
    for stage, changes in SMALL.items():
        recipe[stage] |= QUICK | changes
    extent = np.multiply(recipe["boxes"][structure]["shape"], recipe["boxes"][structure]["spacing"])
    recipe["boxes"][structure] = {"shape": [16, 16, 16], "spacing": (extent / 16).tolist()}
    recipe["frame"] = {"shape": [32, 32, 32], "spacing": [9, 9, 9]}
    recipe["shapes"] = {"variants": 2, "sentences": 2}
    recipe["sampling"] |= {"mask_steps": 1, "volume_steps": 1}
    return recipe | {"workers": 1}


@pytest.mark.parametrize("name", SETS)
def test_from_the_published_layout_to_a_report(name, tmp_path, monkeypatch, capsys):
    provide_pydicom(monkeypatch)
    converter, make = SETS[name]
    make(tmp_path / "source")
    recipe = tiny(name)
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(recipe))
    data, run = str(tmp_path / "data"), str(tmp_path / "run")
    assert main(["convert", converter, str(tmp_path / "source"), data]) == 0
    assert main(["--debug", "train", str(tmp_path / "tiny.yaml"), "--data", data, "--out", run, "--device", "cpu"]) == 0

    monkeypatch.setenv("SKETCH2CT_BUNDLES", str(tmp_path / "run" / "bundle"))
    made = bundle.load(name)
    (structure,) = recipe["structures"]
    kind = "MR" if name == "msd-heart" else "CT"
    assert (made.metadata["modality"], made.metadata["licence"]) == (kind, recipe["licence"])
    assert made.metadata["volume"]["labels"] == ([structure, "body"] if kind == "MR" else [structure, "body", "bone", "air"])
    assert made.metadata["placement"] == {structure: [float(x) for x in recipe["placement"][structure]]}
    low, high = made.metadata["hu"][structure]
    assert low > 0 and high <= 1100

    held = next((tmp_path / "data" / "labelsTs").glob("*.nii.gz"))
    sketch = ["sketch", str(held), "--structure", structure, "--bundle", name, "--out", str(tmp_path / "request.json")]
    (tmp_path / "data" / "labelsTs" / "labels.json").write_text(json.dumps({"1": structure}))
    assert main(sketch) == 0
    assert main(["--debug", "generate", str(tmp_path / "request.json"), "--out", str(tmp_path / "made"), "--device", "cpu"]) == 0
    image, labels = (np.asarray(nib.load(tmp_path / "made" / f"{part}.nii.gz").dataobj) for part in ("ct", "labels"))
    assert image.shape == labels.shape == (32, 32, 32) and (labels == 1).any()
    assert image.min() >= (0 if kind == "MR" else -1024) and image.std() > 0

    capsys.readouterr()
    asked = ["--bundle", name, "--data", data, "--images", "imagesTs", "--labels", "labelsTs", "--cases", "1", "--device", "cpu"]
    assert main(["--debug", "evaluate", *asked, "--out", str(tmp_path / "report")]) == 0, capsys.readouterr().err
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert report["cases"] == 1 and report["masks"][structure]["dice_3d"]["n"] == 1
    assert 0 <= report["masks"][structure]["dice_plane"]["mean"] <= 1 and (tmp_path / "report" / "report.md").is_file()


@pytest.mark.parametrize("name", SETS)
def test_a_shipped_recipe_fits_its_networks(name):
    recipe = read_recipe(name)
    (structure,) = recipe["structures"]
    assert structure in vocabulary()
    halvings = 2 ** len(recipe["mask"]["network"]["channels"])  # the patches are one more
    assert all(n % halvings == 0 and n >= 24 for n in recipe["boxes"][structure]["shape"])
    multiple = 8 * 2 ** (len(recipe["volume"]["network"]["channels"]) - 1)
    assert all(n % multiple == 0 for n in recipe["frame"]["shape"]) and all(n * 4 % multiple == 0 for n in recipe["volume"]["window"])
    assert np.all(np.multiply(recipe["volume"]["atlas"], 4) >= recipe["frame"]["shape"])
    assert recipe["mirror"] is False and recipe["train"] == recipe["choose"] == "Tr"
    card = (RECIPES / f"{recipe['card']}.md").read_text()
    assert card.count("{figures}") == 1 and "Not a medical device" in card
    assert "creativecommons.org" in (RECIPES / f"{recipe['card']}.LICENSE").read_text()


def test_a_recipe_for_mr_refuses_ct(toy_root, tmp_path):
    with pytest.raises(BadRequest, match=r"for MR.*holds CT"):
        train("msd-heart", toy_root, tmp_path / "run", device="cpu")
