"""Converting the public CSV set."""

import json

import numpy as np
import pytest

from sketch2ct.data import openkbp
from sketch2ct.data.nnunet import Dataset
from sketch2ct.errors import BadRequest

SPACING = (3.9, 3.9, 2.5)
# Voxels in the converted array's axes: left, posterior, superior.
LARYNX = [(64, 40, 60), (65, 40, 60), (64, 41, 60), (64, 40, 61)]
STORED = {(64, 40, 60): 1030.0, (10, 100, 5): 910.0, (20, 30, 127): 5000.0}


def flat(i, j, k):
    """The index of a CSV file: C order over posterior, left, inferior."""
    return int(np.ravel_multi_index((j, i, 127 - k), (128, 128, 128)))


def write_patient(folder, structures):
    folder.mkdir(parents=True)
    rows = "".join(f"{flat(*at)},{value}\n" for at, value in STORED.items())
    (folder / "ct.csv").write_text(",data\n" + rows)
    (folder / "voxel_dimensions.csv").write_text("".join(f"{x:.18e}\n" for x in SPACING))
    (folder / "possible_dose_mask.csv").write_text(",data\n5,\n")
    for name, voxels in structures.items():
        (folder / f"{name}.csv").write_text(",data\n" + "".join(f"{flat(*at)},\n" for at in voxels))


@pytest.fixture
def clone(tmp_path):
    provided = tmp_path / "open-kbp" / "provided-data"
    write_patient(provided / "train-pats" / "pt_1", {"Larynx": LARYNX, "Mandible": [], "PTV70": [(1, 1, 1)]})
    write_patient(provided / "validation-pats" / "pt_201", {"Brainstem": [(64, 64, 100)], "Larynx": LARYNX})
    write_patient(provided / "test-pats" / "pt_241", {})
    return tmp_path / "open-kbp"


def test_a_clone_becomes_a_data_set_that_reads_back(clone, tmp_path):
    seen = []
    root = openkbp.convert(clone, tmp_path / "out", lambda *step: seen.append(step))
    assert seen == [(1, 3, "hn_001"), (2, 3, "hn_201"), (3, 3, "hn_241")]
    dataset = Dataset(root)
    assert [dataset.cases(split) for split in ("Tr", "Va", "Ts")] == [["hn_001"], ["hn_201"], ["hn_241"]]
    ct = dataset.image("hn_001")
    assert ct.array.dtype == np.int16
    assert {at: int(ct.array[at]) for at in STORED} == {(64, 40, 60): 30, (10, 100, 5): -90, (20, 30, 127): 3095}
    assert (ct.array == -1000).sum() == 128**3 - 3
    assert np.argwhere(dataset.labels("hn_001").mask("larynx")).tolist() == sorted(map(list, LARYNX))


def test_axes_run_left_posterior_superior(clone, tmp_path):
    grid = Dataset(openkbp.convert(clone, tmp_path / "out")).image("hn_201").grid
    np.testing.assert_allclose(grid.affine, np.diag([-3.9, -3.9, 2.5, 1]), atol=1e-6)


def test_a_structure_without_voxels_or_without_a_file_was_not_contoured(clone, tmp_path):
    dataset = Dataset(openkbp.convert(clone, tmp_path / "out"))
    assert dataset.labelled("hn_001") == ["larynx"]
    assert dataset.labelled("hn_201") == ["brainstem", "larynx"]
    assert dataset.labelled("hn_241") == []
    description = json.loads(dataset.file.read_text())
    assert description["numTraining"] == 1
    entry = {"split": "Va", "spacing_mm": [3.9, 3.9, 2.5], "labelled": ["brainstem", "larynx"]}
    assert description["cases"]["hn_201"] == entry


@pytest.mark.parametrize("name", ["ct.csv", "voxel_dimensions.csv"])
def test_a_missing_file_is_named(clone, tmp_path, name):
    (clone / "provided-data" / "test-pats" / "pt_241" / name).unlink()
    with pytest.raises(BadRequest, match=rf"lacks .*pt_241.*{name}.*Clone"):
        openkbp.convert(clone, tmp_path / "out")
    assert not (tmp_path / "out" / "dataset.json").exists()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("ct.csv", ",data\nversion https://git-lfs\n", "damaged"),
        ("ct.csv", ",data\n2097152,1000\n", "outside"),
        ("voxel_dimensions.csv", "3.9\n3.9\n", "three voxel sizes"),
    ],
)
def test_a_damaged_file_is_named(clone, tmp_path, name, text, message):
    (clone / "provided-data" / "train-pats" / "pt_1" / name).write_text(text)
    with pytest.raises(BadRequest, match=message):
        openkbp.convert(clone, tmp_path / "out")


def test_a_folder_without_patients_and_a_finished_data_set_are_refused(clone, tmp_path):
    with pytest.raises(BadRequest, match="no OpenKBP patients"):
        openkbp.convert(tmp_path, tmp_path / "out")
    openkbp.convert(clone, tmp_path / "out")
    with pytest.raises(BadRequest, match="already holds"):
        openkbp.convert(clone, tmp_path / "out")
