"""Images keep their voxels and their place: NIfTI, NRRD, resampling."""

from __future__ import annotations

import nrrd
import numpy as np
import pytest

from sketch2ct.errors import BadRequest
from sketch2ct.geometry import Grid
from sketch2ct.imaging import read_ct, read_image, read_labels, resample, resample_part, write_nifti

AFFINE = np.array([[-2.0, 0.3, 0, 40], [0.2, 3.0, 0, -45], [0, 0, 2.5, -50], [0, 0, 0, 1]])
GRID = Grid((9, 8, 7), AFFINE)
VALUES = np.arange(9 * 8 * 7, dtype=np.int16).reshape(9, 8, 7) - 200


def test_nifti_keeps_voxels_and_place(tmp_path):
    write_nifti(tmp_path / "a.nii.gz", VALUES, GRID)
    array, grid = read_image(tmp_path / "a.nii.gz")
    assert np.array_equal(array, VALUES)
    assert np.abs(grid.affine - AFFINE).max() < 1e-4


@pytest.mark.parametrize("space", ["left-posterior-superior", "right-anterior-superior"])
def test_nrrd_is_read_into_ras(tmp_path, space):
    affine = (np.diag([-1.0, -1, 1, 1]) if space.startswith("left") else np.eye(4)) @ AFFINE
    header = {"space": space, "space directions": affine[:3, :3].T, "space origin": affine[:3, 3]}
    nrrd.write(str(tmp_path / "a.nrrd"), VALUES, header)
    array, grid = read_image(tmp_path / "a.nrrd")
    assert np.array_equal(array, VALUES)
    assert np.allclose(grid.affine, AFFINE)


def test_what_is_no_label_map_or_no_ct_is_refused(tmp_path):
    broken = VALUES.astype(np.float32)
    broken[0, 0, 0] = np.nan
    write_nifti(tmp_path / "nan.nii.gz", broken, GRID)
    with pytest.raises(BadRequest, match="no label map"):
        read_labels(tmp_path / "nan.nii.gz", {1: "mandible"})
    with pytest.raises(BadRequest, match="not numbers"):
        read_ct(tmp_path / "nan.nii.gz")
    with pytest.raises(BadRequest, match="no file"):
        read_image(tmp_path / "absent.nii.gz")


def test_resampling_a_linear_field_is_exact_on_any_grid():
    field = GRID.voxel_centres() @ np.array([1.0, -2.0, 0.5])
    target = Grid.centred(GRID.centre, (1.7, 1.1, 1.9), (5, 6, 4))
    made = resample(field, GRID, target)
    assert np.abs(made - target.voxel_centres() @ np.array([1.0, -2.0, 0.5])).max() < 1e-6


def test_a_part_is_resampled_as_the_whole():
    source = Grid.centred((3.1, -4.07, 5.03), (2.0, 2.0, 2.0), (6, 6, 6))  # no voxel centre lies on its border
    target = Grid((40, 40, 30), np.array([[-1.0, 0.2, 0, 25], [0.1, 1.3, 0, -30], [0, 0, 1.5, -15], [0, 0, 0, 1]]))
    values = np.random.default_rng(0).normal(size=source.shape).astype(np.float32)
    whole, part = (f(values, source, target, order=3, outside=-9.0) for f in (resample, resample_part))
    assert np.abs(whole - part).max() < 1e-5
    assert (part > -9).any() and (part == -9).any()
