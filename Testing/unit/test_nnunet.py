"""Reading data sets in nnU-Net layout."""

import json
import shutil

import numpy as np
import pytest

from sketch2ct.data.nnunet import Dataset
from sketch2ct.errors import BadRequest


def test_cases_are_listed_by_split_or_by_folder_name(toy_root):
    dataset = Dataset(toy_root)
    assert dataset.cases("Va") == dataset.cases("labelsVa") == ["toy_07", "toy_08", "toy_09"]
    assert len(dataset.cases("imagesTr")) == 6
    assert dataset.splits() == ["Tr", "Va"]


def test_labels_carry_the_names_and_the_image_its_hu(toy_root):
    dataset = Dataset(toy_root)
    labels, ct = dataset.labels("toy_07"), dataset.image("toy_07")
    assert labels.names == {1: "brainstem", 2: "mandible"}
    assert labels.grid.matches(ct.grid)
    assert (ct.array[labels.mask("mandible")] == 800).all()


def test_a_structure_that_is_not_listed_was_not_contoured(toy_root):
    dataset = Dataset(toy_root)
    assert dataset.labelled("toy_08") == ["brainstem", "mandible"]
    assert dataset.labelled("toy_09") == ["brainstem"]


def test_without_a_case_list_what_is_in_the_map_counts_as_labelled(toy_root, tmp_path):
    root = tmp_path / "plain"
    shutil.copytree(toy_root, root)
    description = json.loads((root / "dataset.json").read_text())
    del description["cases"]
    (root / "dataset.json").write_text(json.dumps(description))
    dataset = Dataset(root)
    assert dataset.labelled("toy_08") == ["brainstem", "mandible"]
    assert dataset.labelled("toy_09") == ["brainstem"]
    assert dataset.split("toy_09") == "Va"


def test_synonyms_in_the_label_table_are_understood(toy_root, tmp_path):
    root = tmp_path / "other"
    shutil.copytree(toy_root, root)
    description = json.loads((root / "dataset.json").read_text())
    description["labels"] = {"background": 0, "brain stem": 1, "mandible": 2}
    description["cases"]["toy_07"]["labelled"] = ["Brain Stem"]
    (root / "dataset.json").write_text(json.dumps(description))
    assert Dataset(root).names[1] == "brainstem"
    assert Dataset(root).labelled("toy_07") == ["brainstem"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no dataset.json"),
        ("{", "not valid JSON"),
        ('{"labels": ["brainstem"]}', "'labels' must map"),
        ('{"labels": {"head": [1, 2]}}', "one number"),
        ('{"labels": {"unheard-of": 1}}', "Unknown structure"),
        ('{"labels": {"brainstem": 1}, "cases": ["a"]}', "'cases' must map"),
    ],
)
def test_a_folder_that_is_no_data_set_is_refused_with_the_reason(tmp_path, text, message):
    if text is not None:
        (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(BadRequest, match=message):
        Dataset(tmp_path)


def test_unknown_splits_and_cases_are_named(toy_root):
    with pytest.raises(BadRequest, match=r"labelsTs.*Tr, Va"):
        Dataset(toy_root).cases("Ts")
    with pytest.raises(BadRequest, match="toy_77"):
        Dataset(toy_root).labels("toy_77")


@pytest.mark.data
def test_the_real_set_has_its_official_splits(real_data_root):
    dataset = Dataset(real_data_root)
    assert [len(dataset.cases(split)) for split in ("Tr", "Va", "Ts")] == [170, 33, 51]
    case = dataset.cases("Va")[0]
    labels = dataset.labels(case)
    assert all(labels.has(name) for name in dataset.labelled(case))
    assert labels.grid.matches(dataset.image(case).grid)
    assert -100 < np.median(dataset.image(case).array[labels.mask("brainstem")]) < 100


@pytest.mark.parametrize(
    ("said", "modality"),
    [
        ({"modality": "MR"}, "MR"),
        ({"modality": "CT", "channel_names": {"0": "MRI"}}, "CT"),
        ({"channel_names": {"0": "MRI"}}, "MR"),
        ({"channel_names": {}}, "CT"),
    ],
)
def test_the_modality_is_said_or_told_by_the_channel(toy_root, tmp_path, said, modality):
    root = tmp_path / "set"
    shutil.copytree(toy_root, root)
    (root / "dataset.json").write_text(json.dumps(json.loads((root / "dataset.json").read_text()) | said))
    dataset = Dataset(root)
    assert dataset.modality.name == dataset.image("toy_07").modality.name == modality


def test_an_unknown_modality_is_refused(toy_root, tmp_path):
    (tmp_path / "dataset.json").write_text(json.dumps(json.loads((toy_root / "dataset.json").read_text()) | {"modality": "PET"}))
    with pytest.raises(BadRequest, match="PET"):
        Dataset(tmp_path)
