"""The average anatomy that a bundle brings along: made from label maps, and the shipped one."""

import json

import numpy as np
import pytest

from sketch2ct import bundle
from sketch2ct.anatomy import vocabulary
from sketch2ct.data.nnunet import Dataset
from sketch2ct.geometry import Grid
from sketch2ct.imaging import read_labels, write_nifti
from sketch2ct.naming import names_beside
from sketch2ct.training.guide import average_anatomy, write_guide

FRAME = {"shape": [40, 40, 40], "spacing": [4.0, 4.0, 4.0]}


def ball(grid, centre, radius):
    return ((grid.voxel_centres() - centre) ** 2).sum(-1) <= radius**2


@pytest.fixture
def two_cases(tmp_path):
    """Brainstems of 12 and 16 mm radius at different places, a body of 55 mm around each."""
    for folder in ("imagesTr", "labelsTr"):
        (tmp_path / folder).mkdir()
    for name, centre, radius in (("a", (10.0, 0, 0), 12), ("b", (-20.0, 5, 30), 16)):
        grid = Grid.centred(centre, (3, 3, 3), (48, 48, 48))
        write_nifti(tmp_path / "labelsTr" / f"{name}.nii.gz", ball(grid, np.array(centre), radius).astype(np.uint8), grid)
        hu = np.where(ball(grid, np.array(centre), 55), 40, -1000).astype(np.int16)
        write_nifti(tmp_path / "imagesTr" / f"{name}_0000.nii.gz", hu, grid)
    (tmp_path / "dataset.json").write_text('{"labels": {"background": 0, "brainstem": 1}, "file_ending": ".nii.gz"}')
    return Dataset(tmp_path)


def test_the_mean_has_the_mean_volume_at_the_usual_place(two_cases):
    metadata = {"structures": ["brainstem"], "frame": FRAME, "placement": {"brainstem": [6.0, -10.0, 20.0]}}
    guide = average_anatomy(two_cases, "Tr", metadata)
    mask = guide.mask("brainstem")
    assert guide.names == {1: "brainstem", 2: "body"} and guide.grid.shape == (80, 80, 80)
    volumes = [two_cases.labels(case).mask("brainstem").sum() * 0.027 for case in ("a", "b")]
    assert mask.sum() * guide.grid.voxel_ml == pytest.approx(np.mean(volumes), rel=0.04)  # equal distances come in at once
    assert np.allclose(guide.grid.to_ras(np.argwhere(mask)).mean(0), (6, -10, 20), atol=0.5)
    body = guide.array > 0
    assert np.allclose(guide.grid.to_ras(np.argwhere(body)).mean(0), (6, -10, 20), atol=1.5)
    assert body.sum() * guide.grid.voxel_ml == pytest.approx(4 / 3 * np.pi * 5.5**3, rel=0.05)


def test_a_written_guide_is_read_with_its_names(two_cases, tmp_path):
    metadata = {"structures": ["brainstem"], "frame": FRAME, "placement": {"brainstem": [0.0, 0.0, 0.0]}}
    guide = average_anatomy(two_cases, "Tr", metadata)
    write_guide(tmp_path, guide)
    again = read_labels(tmp_path / "guide.nii.gz", names_beside(tmp_path / "guide.nii.gz"))
    assert np.array_equal(again.array, guide.array) and again.names == guide.names and again.grid.matches(guide.grid, 1e-4)


def test_the_shipped_guide_fits_its_bundle():
    chosen = bundle.load("headneck")
    file = chosen.folder / "guide.nii.gz"
    guide = read_labels(file, names_beside(file))
    metadata = chosen.metadata
    extent = np.multiply(metadata["frame"]["shape"], metadata["frame"]["spacing"])
    assert np.allclose(np.multiply(guide.grid.shape, guide.grid.spacing), extent) and np.allclose(guide.grid.centre, 0, atol=1e-3)
    assert set(guide.names.values()) == {*metadata["structures"], "body"}
    for name in metadata["structures"]:
        mask = guide.mask(name)
        volume = mask.sum() * guide.grid.voxel_ml
        low, high = vocabulary()[name].volume_ml
        assert low < volume < high
        middle = guide.grid.to_ras(np.argwhere(mask)).mean(0)
        assert np.allclose(middle, metadata["placement"][name], atol=6.0)  # the mean of bent shapes is not centred
    right, left = (guide.grid.to_ras(np.argwhere(guide.mask(f"parotid_gland_{side}")))[:, 0].mean() for side in ("right", "left"))
    assert right > 40 and left < -40  # x grows to the patient's right
    assert json.loads((chosen.folder / "guide.json").read_text())["8"] == "body"
