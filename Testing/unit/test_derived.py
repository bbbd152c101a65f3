"""Body, bone and air by thresholds, and what was really stored."""

import numpy as np
import pytest

from sketch2ct.data.derived import body_of, derive, stored
from sketch2ct.data.nnunet import Dataset
from sketch2ct.geometry import Grid
from sketch2ct.imaging import CTVolume


def phantom(axes=(0, 1, 2)):
    """A head of 80 x 100 mm with an airway, a bone, a crumb of bone and a table, stored on slices 10 to 49 only.

    Only a fragment of 20 x 20 mm is stored on the slices 50 to 54. `axes` reorders the array.
    """
    affine = np.diag([-2.0, -2.0, 2.5, 1.0])
    grid = Grid((70, 80, 60), affine)
    x, y = np.meshgrid(np.arange(70) - 35, np.arange(80) - 35, indexing="ij")
    head = (x / 20) ** 2 + (y / 25) ** 2 <= 1
    table = (abs(y - 32) <= 1) & (abs(x) < 30)
    hu = np.full(grid.shape, -1000, np.int16)
    hu[..., 10:50][head | table] = 30
    hu[..., 10:50][x**2 + (y + 10) ** 2 < 25] = -990
    hu[30:40, 45:50, 15:45] = 900
    hu[30:32, 25, 20] = 900
    hu[30:40, 30:40, 50:55] = 30
    return CTVolume(hu.transpose(axes), Grid(np.array(grid.shape)[list(axes)], affine[:, [*axes, 3]])), head


def test_the_body_is_filled_and_without_the_table():
    ct, head = phantom()
    body = body_of(ct)[..., 30]
    assert (body & head).sum() / head.sum() > 0.98
    assert (body & ~head).sum() / head.sum() < 0.02
    assert not body[:, 66:].any()


def test_bone_and_air_lie_inside_the_body_and_crumbs_are_dropped():
    ct, _ = phantom()
    masks = derive(ct)
    assert masks["bone"].sum() == 10 * 5 * 30
    airway = (ct.array == -990) & masks["body"]
    assert airway.any() and (masks["air"] == (ct.array < -400) & masks["body"]).all()
    assert not (masks["bone"] & ~masks["body"]).any()


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_stored_slices_are_those_with_much_body_whatever_the_axis_order(axes):
    ct, _ = phantom(axes)
    known = stored(ct)
    slices = known.any(axis=tuple(n for n in range(3) if axes[n] != 2))
    assert np.flatnonzero(slices).tolist() == list(range(10, 50))
    assert known.sum() == 40 * 70 * 80


def test_an_empty_scan_has_nothing():
    ct = CTVolume(np.full((8, 8, 8), -1000, np.int16), Grid.centred((0, 0, 0), (3, 3, 3), (8, 8, 8)))
    assert not stored(ct).any()
    assert not any(mask.any() for mask in derive(ct).values())


@pytest.mark.data
def test_real_heads_are_mostly_soft_tissue_with_some_bone_and_air(real_data_root):
    dataset = Dataset(real_data_root)
    for case in dataset.cases("Va")[:3]:
        ct = dataset.image(case)
        masks = derive(ct)
        volume = {name: mask.sum() * ct.grid.voxel_ml for name, mask in masks.items()}
        assert 1000 < volume["body"] < 30000
        assert 0.04 < volume["bone"] / volume["body"] < 0.3
        assert 20 < stored(ct).any((0, 1)).sum() <= 128
