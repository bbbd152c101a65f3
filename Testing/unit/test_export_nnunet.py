"""nnU-Net itself takes an exported data set: its integrity check passes, it preprocesses every case, and it finds our folds."""

import json
import shutil

import numpy as np
import pytest

from export_cases import add_case, flipped_grid, oblique_grid, organs, plain_grid, start_cohort
from nnunet_check import plan_and_preprocess
from sketch2ct.export.options import Options
from sketch2ct.export.run import export
from sketch2ct.imaging import read_image, write_nifti

DATASET = "Dataset901_heads"


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """Four cases in two groups, on grids of different shapes and orientations."""
    folder = tmp_path_factory.mktemp("nnunet")
    root = start_cohort(folder / "cohort", 4)
    for number, grid in enumerate([plain_grid(), flipped_grid(), oblique_grid(), oblique_grid(True)], start=1):
        add_case(root, number, grid, organs(grid), group=f"g{number % 2}")
    export(root, folder / "raw", Options("nnunet", "all", name="heads", dataset_id=901))
    return folder


def test_nnunet_verifies_and_preprocesses_an_export(out):
    said = plan_and_preprocess(out / "raw", out, 901)
    assert "verify_dataset_integrity Done" in said, said
    made = out / "preprocessed" / DATASET
    assert len(list((made / "nnUNetPlans_3d_fullres").glob("*.pkl"))) == 4
    shutil.copy(out / "raw" / DATASET / "splits_final.json", made)
    known = {path.name.removesuffix(".nii.gz") for path in (made / "gt_segmentations").iterdir()}
    assert {key for fold in json.loads((made / "splits_final.json").read_text()) for key in fold["train"] + fold["val"]} == known


def test_nnunet_refuses_a_set_whose_labels_are_not_those_it_declares(out, tmp_path):
    """So that the check above is one."""
    shutil.copytree(out / "raw", tmp_path / "raw")
    path = tmp_path / "raw" / DATASET / "labelsTr" / "case-00001.nii.gz"
    array, grid = read_image(path)
    write_nifti(path, np.where(array == 2, 9, array).astype(np.uint8), grid)
    with pytest.raises(AssertionError, match="Unexpected labels"):
        plan_and_preprocess(tmp_path / "raw", tmp_path, 901)
