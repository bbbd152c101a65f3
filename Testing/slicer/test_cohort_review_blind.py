"""A blind reading in the module: nothing tells what a case is, until the result."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import slicer

from module_driver import ModuleDriver
from review_cohorts import SMALL, make_case, make_cohort
from reviewing import Reviewing, case
from sketch2ct.cohort.folder import Cohort
from sketch2ct.data.nnunet import Dataset
from sketch2ct.review.blind import make_blind
from sketch2ct.review.store import ReviewStore

WORDS = ("synthetic", "real", "toy", "patient_", "ml", "dice", "broad", "long", "flag", "headneck", "seed", "mandible sketch")


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    """Two synthetic cases, and two of a data set whose scans were made in the same way."""
    folder = tmp_path_factory.mktemp("blind")
    cohort = Cohort.open(make_cohort(folder / "cohort", 3, SMALL, thumbs=False))
    data = folder / "data"
    for kind in ("imagesTs", "labelsTs"):
        (data / kind).mkdir(parents=True)
    for number in (21, 22, 23):
        made = folder / "made" / f"{number}"
        make_case(made, number, SMALL, thumbs=False)
        shutil.copy(made / "ct.nii.gz", data / "imagesTs" / f"patient_{number}_0000.nii.gz")
        shutil.copy(made / "labels.nii.gz", data / "labelsTs" / f"patient_{number}.nii.gz")
    about = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "mandible": 1}, "file_ending": ".nii.gz"}
    (data / "dataset.json").write_text(json.dumps(about))
    return make_blind(cohort, Dataset(data), "Ts", 2, folder / "reading", seed=5)


@pytest.fixture
def reading(pristine, tmp_path):
    return shutil.copytree(pristine, tmp_path / "reading")


@pytest.fixture
def module(desktop, tmp_path, monkeypatch, reading):
    from Sketch2CTModuleLib.EnvironmentCheck import EnvironmentCheck

    monkeypatch.setattr(EnvironmentCheck, "run", lambda self: None)
    driver = ModuleDriver(desktop, tmp_path / "results")
    Reviewing(driver, reading)
    return driver


def told(module):
    """Everything that the section and the nodes of the scene say of the cases."""
    table = module.ui.cohortTable
    items = [table.item(row, column) for row in range(table.rowCount) for column in range(table.columnCount)]
    texts = [text for item in items if item for text in (item.text(), item.toolTip())]
    texts += [module.ui.caseLabel.text, module.ui.cohortLabel.text, module.ui.noteEdit.text]
    for kind in ("vtkMRMLScalarVolumeNode", "vtkMRMLSegmentationNode", "vtkMRMLMarkupsCurveNode", "vtkMRMLTextNode"):
        for node in slicer.util.getNodesByClass(kind):
            names = node.GetAttributeNames() or ()
            texts += [node.GetName(), node.GetDescription() or "", *(f"{name} {node.GetAttribute(name)}" for name in names)]
    return " ".join(texts).lower()


def test_nothing_tells_what_a_case_is(module, reading):
    for number in range(1, 5):
        text = told(module)
        assert case(number) in text and not [word for word in WORDS if word in text], text
        assert not slicer.util.getNodesByClass("vtkMRMLMarkupsCurveNode")
        module.desktop.key("Red", "N")
    hidden = [module.ui.cohortTable.isColumnHidden(column) for column in range(module.ui.cohortTable.columnCount)]
    assert hidden == [False, False, False, True, True, True, True, True, True]
    visible = [
        name for name in ("acceptButton", "scoreRow", "editCaseButton", "realButton", "syntheticButton") if getattr(module.ui, name).visible
    ]
    assert visible == ["realButton", "syntheticButton"]


def test_the_key_is_not_read_while_cases_are_judged(module, reading):
    (reading / "key.json").rename(reading / "hidden")
    for key in ("L", "S", "U", "N", "P"):
        module.desktop.key("Red", key)
    assert module.desktop.dialogs == [] and len(ReviewStore(reading).rows()) == 3


def test_guesses_are_kept_and_the_matrix_comes_with_the_last_one(module, reading):
    kinds = [entry["kind"] for entry in json.loads((reading / "key.json").read_text())["cases"].values()]
    module.desktop.key("Red", "A")
    module.desktop.key("Red", "4")
    assert ReviewStore(reading).rows() == []  # no verdicts or scores here
    for number, kind in enumerate(kinds, start=1):
        assert module.panel.cohort.session.current == case(number) and module.desktop.dialogs == []
        guess = kind if number > 1 else {"real": "synthetic", "synthetic": "real"}[kind]
        module.desktop.key("Red", "L" if guess == "real" else "S")
        assert ReviewStore(reading).latest()[case(number), "AB"].guess == guess
    (dialog,) = module.desktop.dialogs
    rows = [line.split() for line in dialog.text.splitlines()]
    wrong = kinds[0]
    right = 2 - (wrong == "synthetic")
    assert ["is", "synthetic", str(right), str(2 - right)] in rows and ["accuracy", "75", "%"] in [row[:3] for row in rows]


def test_a_look_at_the_result_before_the_end_is_asked_about(module, reading):
    import qt

    module.desktop.key("Red", "L")
    module.desktop.dialogs.answer(qt.QMessageBox.No)
    module.desktop.click(module.ui.cohortResultButton)
    assert len(module.desktop.dialogs) == 1 and "3 cases are not judged yet" in module.desktop.dialogs[0].text
    module.desktop.dialogs.answer(qt.QMessageBox.Yes)
    module.desktop.click(module.ui.cohortResultButton)
    assert "AB: 1 judged, 3 left" in module.desktop.dialogs[-1].text


def test_a_tampered_file_is_told_with_the_result(module, reading):
    shutil.copy(reading / "cases" / case(1) / "ct.nii.gz", reading / "cases" / case(2) / "ct.nii.gz")
    for _ in range(4):
        module.desktop.key("Red", "S")
    assert "not the file that the key was made for" in module.desktop.dialogs[-1].text


def test_the_pictures_are_alike_in_the_scene(module):
    sizes = set()
    for _ in range(4):
        (volume,) = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
        array = slicer.util.arrayFromVolume(volume)
        sizes.add((array.shape, volume.GetSpacing(), np.round(volume.GetOrigin(), 3).tobytes()))
        module.desktop.key("Red", "N")
    assert len(sizes) == 1
