"""Exports as nnU-Net data sets, MONAI lists and TotalSegmentator folders: the same voxels in the same places, and honest labels."""

import csv
import json

import nibabel as nib
import numpy as np
import pytest

from export_cases import GRIDS, NAMES, add_case, add_edit, make_cohort, organs, plain_grid, start_cohort
from sketch2ct.data.nnunet import Dataset
from sketch2ct.errors import BadRequest
from sketch2ct.export.options import Options
from sketch2ct.export.parts import assigned
from sketch2ct.export.run import export
from sketch2ct.geometry import Grid

DATASET = "Dataset801_Sketch2CT"


def send(root, out, to, **options):
    return export(root, out, Options(to, "all", **options))


def read(path):
    image = nib.load(path)
    return np.asarray(image.dataobj), image.affine, image


def lone(tmp_path, grid, labels=None):
    root = start_cohort(tmp_path / "cohort", 1)
    add_case(root, 1, grid, labels)
    return root, root / "cases" / "case-00001"


@pytest.mark.parametrize("kind", GRIDS)
def test_nnunet_gets_every_voxel_where_it_was(tmp_path, kind):
    grid = GRIDS[kind]()
    root, case = lone(tmp_path, grid)
    send(root, tmp_path / "out", "nnunet")
    ct, ct_affine, image = read(tmp_path / "out" / DATASET / "imagesTr" / "case-00001_0000.nii.gz")
    labels, affine, _ = read(tmp_path / "out" / DATASET / "labelsTr" / "case-00001.nii.gz")
    source = read(case / "ct.nii.gz")
    assert ct.dtype == np.int16 and labels.dtype == np.uint8
    assert np.array_equal(ct, source[0])
    assert np.abs(ct_affine - source[1]).max() < 1e-6 and np.abs(affine - source[1]).max() < 1e-6
    assert np.abs(image.get_qform() - image.get_sform()).max() < 1e-4
    given = organs(grid)
    assert np.array_equal(labels == 1, given == 4) and np.array_equal(labels == 2, given == 7)


def test_nnunet_values_are_consecutive_and_described(tmp_path):
    send(make_cohort(tmp_path / "cohort"), tmp_path / "out", "nnunet")
    described = json.loads((tmp_path / "out" / DATASET / "dataset.json").read_text())
    assert described["labels"] == {"background": 0, "parotid_gland_left": 1, "mandible": 2}
    assert described["channel_names"] == {"0": "CT"} and described["file_ending"] == ".nii.gz" and described["numTraining"] == 4
    assert described["synthetic"] is True and described["bundle_hash"] == "ab" * 32


def test_our_own_reader_takes_an_exported_data_set(tmp_path):
    send(make_cohort(tmp_path / "cohort"), tmp_path / "out", "nnunet")
    dataset = Dataset(tmp_path / "out" / DATASET)
    assert len(dataset.cases("Tr")) == 4 and dataset.labelled("case-00002") == ["parotid_gland_left", "mandible"]
    assert np.array_equal(dataset.labels("case-00002").mask("mandible"), organs(plain_grid()) == 7)


def mixed(tmp_path):
    root = start_cohort(tmp_path / "cohort", 5)
    for number, values in enumerate([(7, 4), (7,), (7,), (4,), (7,)], start=1):
        add_case(root, number, plain_grid(), organs(plain_grid(), values))
    return root


def test_different_structures_never_share_a_data_set(tmp_path):
    report = send(mixed(tmp_path), tmp_path / "out", "nnunet", dataset_id=30, name="heads")
    found = {path.name: json.loads((path / "dataset.json").read_text()) for path in (tmp_path / "out").glob("Dataset*")}
    assert {name: one["labels"] for name, one in found.items()} == {
        "Dataset030_heads_mandible": {"background": 0, "mandible": 1},
        "Dataset031_heads_parotid_gland_left": {"background": 0, "parotid_gland_left": 1},
        "Dataset032_heads_parotid_gland_left_mandible": {"background": 0, "parotid_gland_left": 1, "mandible": 2},
    }
    assert [one["numTraining"] for _, one in sorted(found.items())] == [3, 1, 1]
    assert any("no background" in line for line in report.lines())


def test_one_structure_can_be_had_of_all_cases_that_have_it(tmp_path):
    send(mixed(tmp_path), tmp_path / "out", "nnunet", structures=("mandible",))
    folder = tmp_path / "out" / DATASET
    assert sorted(path.name[:10] for path in (folder / "labelsTr").iterdir()) == ["case-00001", "case-00002", "case-00003", "case-00005"]
    labels = read(folder / "labelsTr" / "case-00001.nii.gz")[0]
    assert np.array_equal(labels, (organs(plain_grid()) == 7).astype(np.uint8))


def test_more_data_sets_than_numbers_are_refused_and_nothing_is_left(tmp_path):
    with pytest.raises(BadRequest, match=r"numbers up to 1001.*--dataset-id"):
        send(mixed(tmp_path), tmp_path / "out", "nnunet", dataset_id=999)
    assert [path.name for path in tmp_path.iterdir()] == ["cohort"]


def test_nnunets_splits_cover_every_case_once_and_keep_groups_together(tmp_path):
    root = start_cohort(tmp_path / "cohort", 10)
    group = {add_case(root, n, plain_grid(), group=f"g{n % 4}"): n % 4 for n in range(1, 11)}
    send(root, tmp_path / "out", "nnunet", folds=3, seed=5)
    splits = json.loads((tmp_path / "out" / DATASET / "splits_final.json").read_text())
    assert len(splits) == 3
    assert sorted(key for fold in splits for key in fold["val"]) == sorted(group)
    for fold in splits:
        assert sorted(fold["train"] + fold["val"]) == sorted(group)
        assert not {group[key] for key in fold["train"]} & {group[key] for key in fold["val"]}


def test_one_group_gets_no_split_and_is_told_so(tmp_path):
    root = start_cohort(tmp_path / "cohort", 2)
    for number in (1, 2):
        add_case(root, number, plain_grid(), group="g0001")
    report = send(root, tmp_path / "out", "nnunet")
    assert not (tmp_path / "out" / DATASET / "splits_final.json").exists()
    assert any("one base request" in line for line in report.lines())
    assert any("3d_fullres all" in line for line in report.card["usage"])


def test_too_few_groups_for_the_folds_is_told(tmp_path):
    report = send(make_cohort(tmp_path / "cohort"), tmp_path / "out", "nnunet", folds=4)
    assert len(json.loads((tmp_path / "out" / DATASET / "splits_final.json").read_text())) == 2
    assert "note: There are too few groups for 4 folds: there are 2." in report.lines()


def test_groups_stay_together_for_every_seed():
    for seed in range(200):
        rng = np.random.default_rng(seed)
        groups = [f"g{n}" for n in rng.integers(0, rng.integers(2, 12), rng.integers(8, 40))]
        folds = min(int(rng.integers(2, 7)), len(set(groups)))
        fold = assigned(groups, folds, seed)
        assert set(fold) == set(range(folds)), "an empty fold"
        assert len({(group, n) for group, n in zip(groups, fold, strict=True)}) == len(set(groups)), "a group in two folds"
        sizes = np.bincount(fold)
        assert np.ptp(sizes) <= max(groups.count(group) for group in groups)


def test_the_seed_chooses_the_folds_and_repeats_them():
    groups = [f"g{n}" for n in range(20)]
    assert assigned(groups, 5, 1) == assigned(groups, 5, 1) != assigned(groups, 5, 2)


def loaded(items):
    from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged

    return Compose([LoadImaged(("image", "label")), EnsureChannelFirstd(("image", "label"))])(items)


@pytest.mark.parametrize("kind", GRIDS)
def test_monai_loads_the_list_with_every_voxel_in_its_place(tmp_path, kind):
    from monai.data import load_decathlon_datalist

    grid = GRIDS[kind]()
    root, case = lone(tmp_path, grid)
    send(root, tmp_path / "out", "monai")
    item = loaded(load_decathlon_datalist(tmp_path / "out" / "dataset.json", True, "training"))[0]
    assert np.array_equal(np.asarray(item["image"][0]), read(case / "ct.nii.gz")[0])
    assert np.array_equal(np.asarray(item["label"][0]) == 2, organs(grid) == 7)
    assert np.abs(np.asarray(item["image"].affine) - read(case / "ct.nii.gz")[1]).max() < 1e-5


def test_monai_has_the_same_cases_once_in_training_or_validation_and_in_folds(tmp_path):
    from monai.data import load_decathlon_datalist

    root = start_cohort(tmp_path / "cohort", 9)
    group = {add_case(root, n, plain_grid(), group=f"g{n % 3}"): f"g{n % 3}" for n in range(1, 10)}
    send(root, tmp_path / "out", "monai", folds=3)
    training, validation = (load_decathlon_datalist(tmp_path / "out" / "dataset.json", True, key) for key in ("training", "validation"))
    keys = [{item["image"].rpartition("/")[2][:10] for item in items} for items in (training, validation)]
    assert keys[0] | keys[1] == set(group) and not keys[0] & keys[1] and keys[1]
    assert not {group[key] for key in keys[0]} & {group[key] for key in keys[1]}
    folds = load_decathlon_datalist(tmp_path / "out" / "dataset_folds.json", True, "training")
    assert {item["image"].rpartition("/")[2][:10] for item in folds if item["fold"] == 0} == keys[1]
    assert all(item["image"].startswith(str(tmp_path / "out")) for item in folds)
    assert json.loads((tmp_path / "out" / "dataset.json").read_text())["labels"]["2"] == "mandible"


def test_monai_lists_are_apart_for_different_structures(tmp_path):
    send(mixed(tmp_path), tmp_path / "out", "monai")
    labels = {path.parent.name: json.loads(path.read_text())["labels"] for path in (tmp_path / "out").glob("*/dataset.json")}
    assert labels["mandible"] == {"0": "background", "1": "mandible"} and len(labels) == 3


@pytest.mark.parametrize("kind", GRIDS)
def test_totalsegmentator_gets_one_file_for_each_structure(tmp_path, kind):
    grid = GRIDS[kind]()
    root, case = lone(tmp_path, grid)
    send(root, tmp_path / "out", "totalsegmentator")
    folder = tmp_path / "out" / "case-00001"
    source = read(case / "ct.nii.gz")
    ct, affine, _ = read(folder / "ct.nii.gz")
    assert np.array_equal(ct, source[0]) and np.abs(affine - source[1]).max() < 1e-6
    assert sorted(path.name for path in (folder / "segmentations").iterdir()) == ["mandible.nii.gz", "parotid_gland_left.nii.gz"]
    for value in (7, 4):
        mask, affine, _ = read(folder / "segmentations" / f"{NAMES[value]}.nii.gz")
        assert mask.dtype == np.uint8 and np.array_equal(mask, (organs(grid) == value).astype(np.uint8))
        assert np.abs(affine - source[1]).max() < 1e-6


def test_totalsegmentators_own_spelling_is_used(tmp_path):
    root = start_cohort(tmp_path / "cohort", 1)
    add_case(root, 1, plain_grid(), names={7: "left_atrium", 4: "aorta"})
    send(root, tmp_path / "out", "totalsegmentator")
    found = sorted(path.name for path in (tmp_path / "out" / "case-00001" / "segmentations").iterdir())
    assert found == ["aorta.nii.gz", "heart_atrium_left.nii.gz"]


def test_totalsegmentators_table_splits_groups_and_names_what_is_labelled(tmp_path):
    root = start_cohort(tmp_path / "cohort", 6)
    for number in range(1, 7):
        add_case(root, number, plain_grid(), organs(plain_grid(), (7,) if number == 1 else (7, 4)), group=f"g{number % 3}")
    send(root, tmp_path / "out", "totalsegmentator", folds=3)
    with (tmp_path / "out" / "meta.csv").open() as stream:
        rows = list(csv.DictReader(stream, delimiter=";"))
    assert [row["image_id"] for row in rows] == [f"case-{n:05d}" for n in range(1, 7)]
    assert rows[0]["labelled"] == "mandible" and rows[1]["labelled"] == "parotid_gland_left,mandible"
    by_split = {split: {row["group"] for row in rows if row["split"] == split} for split in ("train", "val")}
    assert len(by_split["train"]) == 2 and len(by_split["val"]) == 1 and not by_split["train"] & by_split["val"]


def test_edited_masks_are_what_is_exported(tmp_path):
    root, _ = lone(tmp_path, plain_grid())
    edited = np.roll(organs(plain_grid()), 2, axis=0)
    add_edit(root, "case-00001", edited, NAMES)
    send(root, tmp_path / "new", "nnunet")
    send(root, tmp_path / "old", "nnunet", masks="generated")
    new, old = (read(tmp_path / name / DATASET / "labelsTr" / "case-00001.nii.gz")[0] for name in ("new", "old"))
    assert np.array_equal(new == 2, edited == 7) and np.array_equal(old == 2, organs(plain_grid()) == 7)


def sheared_grid():
    grid = plain_grid()
    affine = grid.affine.copy()
    affine[:3, 2] += [0.0, 0.9, 0.0]  # a tilted gantry
    return Grid(grid.shape, affine)


def test_a_sheared_grid_is_made_square_with_everything_in_its_place(tmp_path):
    root, _ = lone(tmp_path, sheared_grid())
    report = send(root, tmp_path / "out", "nnunet")
    labels, affine, _ = read(tmp_path / "out" / DATASET / "labelsTr" / "case-00001.nii.gz")
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    assert np.abs(axes.T @ axes - np.eye(3)).max() < 1e-6
    assert any("right angles" in line for line in report.lines())
    mean = [
        nib.affines.apply_affine(a, np.argwhere(m)).mean(0)
        for a, m in ((affine, labels == 2), (sheared_grid().affine, organs(plain_grid()) == 7))
    ]
    assert np.abs(mean[0] - mean[1]).max() < 0.4
    volume = [
        np.sum(m) * abs(np.linalg.det(a[:3, :3])) for a, m in ((affine, labels == 2), (sheared_grid().affine, organs(plain_grid()) == 7))
    ]
    assert volume[0] == pytest.approx(volume[1], rel=0.06)


def test_monai_keeps_a_sheared_grid(tmp_path):
    root, case = lone(tmp_path, sheared_grid())
    send(root, tmp_path / "out", "monai")
    ct, affine, _ = read(tmp_path / "out" / "imagesTr" / "case-00001.nii.gz")
    assert np.array_equal(ct, read(case / "ct.nii.gz")[0]) and np.abs(affine - sheared_grid().affine).max() < 1e-5
