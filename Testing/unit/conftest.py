"""Fixtures of the unit tests: where real scans lie, and a small data set made on the spot."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from sketch2ct.geometry import Grid
from sketch2ct.imaging import write_nifti

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def real_data_root():
    """The converted OpenKBP set, or a skip that says how to provide it."""
    named = os.environ.get("SKETCH2CT_DATA")
    folder = Path(named) if named else REPOSITORY.parent / "shared" / "data"
    for root in (folder, folder / "openkbp-hn"):
        if (root / "dataset.json").is_file():
            return root
    pytest.skip(f"no real scans in {folder}: set SKETCH2CT_DATA to a folder that 'sketch2ct convert openkbp' made")


def ellipsoid(grid, centre, radii):
    return ((((grid.voxel_centres() - centre) / radii) ** 2).sum(-1)) <= 1


@pytest.fixture(scope="session")
def toy_grid():
    """48 x 48 x 40 voxels of 3 x 3 x 2.5 mm with axes left, posterior, superior."""
    affine = np.diag([-3.0, -3.0, 2.5, 1.0])
    affine[:3, 3] = [70.5, 70.5, -48.75]
    return Grid((48, 48, 40), affine)


@pytest.fixture(scope="session")
def toy_root(tmp_path_factory, toy_grid):
    """Six training and two validation heads: a body, a brainstem and a mandible, both ellipsoids that differ in size.

    `toy_09` has no contoured mandible.
    """
    root = tmp_path_factory.mktemp("toy")
    rng = np.random.default_rng(0)
    cases = {}
    for number in range(1, 10):
        split, case = ("Tr" if number <= 6 else "Va"), f"toy_{number:02d}"
        size = rng.uniform(0.8, 1.2)
        hu = np.full(toy_grid.shape, -1000, np.int16)
        hu[ellipsoid(toy_grid, (0, 0, 0), (60, 62, 80))] = 40
        hu[ellipsoid(toy_grid, (0, 50, -20), (6, 6, 6))] = -900
        labels = np.zeros(toy_grid.shape, np.uint8)
        shift = rng.uniform(-4, 4, 3)
        labels[ellipsoid(toy_grid, shift + np.array([0, -10, 10]), np.array([14, 12, 24]) * size)] = 1
        labels[ellipsoid(toy_grid, shift + np.array([0, 35, -15]), np.array([24, 12, 9]) * size)] = 2
        hu[labels == 1], hu[labels == 2] = 30, 800
        labelled = ["brainstem", "mandible"]
        if number == 9:
            labels[labels == 2], labelled = 0, ["brainstem"]
        for kind in ("images", "labels"):
            (root / f"{kind}{split}").mkdir(exist_ok=True)
        write_nifti(root / f"images{split}" / f"{case}_0000.nii.gz", hu, toy_grid)
        write_nifti(root / f"labels{split}" / f"{case}.nii.gz", labels, toy_grid)
        cases[case] = {"split": split, "spacing_mm": [3.0, 3.0, 2.5], "labelled": labelled}
    description = {
        "name": "toy heads",
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "brainstem": 1, "mandible": 2},
        "file_ending": ".nii.gz",
        "numTraining": 6,
        "cases": cases,
    }
    (root / "dataset.json").write_text(json.dumps(description))
    return root


@pytest.fixture(scope="session")
def segmenter_recipe(tmp_path_factory):
    """The path of a recipe of a tiny segmenter, quick to train on the toy heads."""
    import yaml

    from sketch2ct.training.run import read_recipe

    settings = read_recipe("segmenter")
    settings["network"] = {"filters": 8, "down": [1, 1], "up": [1]}
    settings |= {"crop": [24, 24, 24], "batch": 2, "average": 0.9, "learning_rate": 5e-3}
    settings |= {"steps_per_epoch": 5, "check_every": 2, "checks": 1, "workers": 0}
    path = tmp_path_factory.mktemp("recipe") / "toy.yaml"
    path.write_text(yaml.safe_dump(settings))
    return str(path)
