"""Making a cohort from the module: what it is made from, the run in another process, and what may go wrong with it."""

from __future__ import annotations

import functools
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import slicer

from backend_listener import alive, environment
from cohort_kit import FRAME
from fake_backend import make_bundle
from module_driver import SAMPLE, ModuleDriver
from review_cohorts import SMALL, lengthen, make_case, make_cohort, write_facts
from sketch2ct.cohort.folder import Cohort
from sketch2ct.imaging import read_image
from sketch2ct.request import GenerationRequest

FAKE = Path(__file__).resolve().parents[1] / "support" / "fake_cohort.py"
PATIENCE_MS = 20_000


@pytest.fixture
def module(desktop, tmp_path, monkeypatch):
    from Sketch2CTModuleLib.EnvironmentCheck import EnvironmentCheck

    monkeypatch.setattr(EnvironmentCheck, "run", lambda self: None)
    for name in ("cohortFolder", "cohortsFolder", "secondsPerCase/ct", "secondsPerCase/mask"):
        settings().remove(f"Sketch2CT/{name}")
    make_bundle(tmp_path / "shelf", frame=FRAME)
    return ModuleDriver(desktop, tmp_path / "results")


@pytest.fixture
def maker(module, tmp_path):
    return Making(module, tmp_path)


class Making:
    """A user at the form, and a backend with a quick engine behind it."""

    def __init__(self, module, folder):
        self.module, self.folder = module, folder
        self.children = []
        self.ui.cohortSection.collapsed = False
        self.behave()

    ui = property(lambda self: self.module.ui)
    desktop = property(lambda self: self.module.desktop)
    panel = property(lambda self: self.module.panel.cohortMake)
    cohort = property(lambda self: self.module.panel.cohort)
    out = property(lambda self: Path(self.ui.makeFolderPath.currentPath))
    status = property(lambda self: self.ui.makeStatusLabel.text)

    def behave(self, seconds=0.0, fault="", patience=PATIENCE_MS):
        """How the backend's next processes do."""
        from Sketch2CTModuleLib.ChildProcess import ChildProcess
        from Sketch2CTModuleLib.CohortJob import CohortJob

        def child(arguments):
            program = [str(FAKE), str(seconds), fault, *arguments]
            made = ChildProcess(sys.executable, program, environment(SKETCH2CT_BUNDLES=str(self.folder / "shelf")))
            self.children.append(made)
            return made

        self.panel._makeJob = functools.partial(CohortJob, child=child, patienceMs=patience)

    def show(self, source=None, count=3):
        if not self.ui.makeButton.checked:
            self.desktop.click(self.ui.makeButton)
        if source is not None:
            self.module.choose(self.ui.makeSourceSelector, source)
        self.ui.makeCountSpin.value = count
        self.settle()

    def settle(self):
        self.desktop.wait(lambda: not self.panel._soon.waiting, 20)

    def start(self):
        assert self.ui.makeStartButton.enabled, self.ui.makeNoteLabel.text
        self.desktop.click(self.ui.makeStartButton)

    def wait(self, condition=None):
        assert self.desktop.wait(condition or (lambda: not self.panel.isRunning), 90), self.status

    def make(self, **how):
        self.behave(**how)
        self.start()
        self.wait()

    def spec(self):
        return json.loads((self.out / ".source" / "spec.json").read_text(encoding="utf-8"))


def settings():
    import qt

    return qt.QSettings()


def case(number):
    return f"case-{number:05d}"


def box_segmentation(**boxes):
    """Segments on a 30 x 28 x 26 grid of 2 mm voxels: name -> slices of the array (k, j, i)."""
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    slicer.util.updateVolumeFromArray(volume, np.zeros((26, 28, 30), np.int16))
    volume.SetSpacing(2, 2, 2)
    volume.SetOrigin(-30, -28, -20)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Drawn")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    for name, box in boxes.items():
        node.GetSegmentation().AddEmptySegment(name, name)
        mask = np.zeros((26, 28, 30), np.uint8)
        mask[box] = 1
        slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, name, volume)
    return node


# From what


def test_the_scenes_sketches_and_words_are_what_is_proposed(maker):
    maker.module.draw_mandible()
    maker.show(count=5)
    ui = maker.ui
    assert ui.makeSourceSelector.currentData == "scene" and ui.makeSourceLabel.text == 'Mandible, "a broad mandible, about 62 mL"'
    assert maker.out == maker.folder / "results" / "cohort-001" and ui.makeStartButton.text == "Make 5 cases" and ui.makeStartButton.enabled
    assert not ui.makeSegmentationSelector.visible and not ui.makeDatasetPath.visible and not ui.makeDetails.visible


def test_an_empty_scene_says_what_is_missing_until_it_is_there(maker):
    maker.show("scene")
    assert not maker.ui.makeStartButton.enabled and "no sketch" in maker.ui.makeNoteLabel.text
    maker.module.describe("a large mandible")
    maker.settle()
    assert maker.ui.makeStartButton.enabled and maker.ui.makeSourceLabel.text.startswith("Mandible")
    slicer.mrmlScene.Clear(0)
    maker.settle()
    assert not maker.ui.makeStartButton.enabled


def test_a_cohort_is_made_from_the_scenes_sketches(maker):
    maker.module.draw_mandible()
    maker.module.ui.maskFirstCheck.checked = True  # of the section Generate; the form has its own choice
    maker.show(count=3)
    maker.make()
    cohort = Cohort.open(maker.out)
    assert cohort.names() == [case(1), case(2), case(3)] and cohort.total == 3
    base = GenerationRequest.read(maker.out / ".source" / "request.json")
    drawn, sample = base.sketches[0].strokes[0], GenerationRequest.read(SAMPLE).sketches[0].strokes[0]
    assert base.description == "a broad mandible, about 62 mL" and base.volume_generator != "none" and base.samples == 1
    assert np.abs(drawn[:, 0]).max() == pytest.approx(np.abs(sample[:, 0]).max(), abs=2)
    assert np.allclose(drawn.mean(axis=0), module_stroke(maker).mean(axis=0), atol=0.5)
    assert all(cohort.case(name).ct_path.is_file() for name in cohort.names())
    factors = [cohort.case(name).facts["drawn"]["volume_factor"] for name in cohort.names()]
    assert all(0.8 <= factor <= 1.2 for factor in factors) and len(set(factors)) == 3
    assert "3 of 3 complete" in maker.status and maker.desktop.dialogs == [] and not maker.ui.makeBar.visible


def module_stroke(maker):
    return np.concatenate([stroke.points for stroke in maker.module.panel.book.strokes()])


def test_the_choices_of_the_form_are_in_the_spec(maker):
    maker.module.draw_mandible()
    maker.show(count=7)
    ui = maker.ui
    maker.desktop.click(ui.makeDetailsButton)
    assert ui.makeDetails.visible
    ui.makeVarietySlider.value = 100
    assert (ui.makeVolumeSpin.value, ui.makeElongationSpin.value, ui.makeHandSpin.value) == (40, 20, 2.0)
    ui.makeVolumeSpin.value, ui.makeMirrorSpin.value, ui.makeSeedSpin.value = 30, 25, 12
    ui.makeWordingCheck.checked, ui.makeCtCheck.checked = False, False
    jobs = held_jobs(maker)
    maker.start()
    spec = maker.spec()
    assert jobs == [["cohort", str(maker.out / ".source" / "spec.json"), "--out", str(maker.out), "--events"]]
    assert spec["vary"] == {
        **{"wording": False, "volume": [0.7, 1.3], "elongation": [0.8, 1.2], "side": 0.25},
        **{"shift_mm": 6.0, "rotate_deg": 10.0, "hand": [0.0, 2.0]},
    }
    assert (spec["count"], spec["seed"], spec["mask_only"], spec["request"]) == (7, 12, True, "request.json")


def held_jobs(maker):
    """Jobs that do nothing; their arguments."""
    from Sketch2CTModuleLib.Signal import Signal

    asked = []

    class Held:
        def __init__(self, arguments):
            asked.append(arguments)
            self.event, self.ended = Signal(), Signal()

        def start(self):
            pass

        close = cancel = start

    maker.panel._makeJob = Held
    return asked


def test_words_alone_vary_only_what_words_can_say(maker):
    maker.module.describe("a large mandible")
    maker.show("scene", count=2)
    maker.ui.makeMirrorSpin.value = 50
    maker.make()
    assert set(maker.spec()["vary"]) == {"wording", "elongation"}  # no volume is stated, and there is nothing to mirror
    assert Cohort.open(maker.out).names() == [case(1), case(2)]


def test_a_segmentation_gives_the_shapes_and_what_the_model_does_not_know_is_left_out(maker):
    boxes = {"Mandible": np.s_[5:15, 6:20, 4:24], "brain stem": np.s_[16:22, 8:14, 9:15], "Screw": np.s_[1:3, 1:3, 1:3]}
    node = box_segmentation(**boxes)
    maker.show(count=4)
    assert maker.ui.makeSourceSelector.currentData == "segmentation" and not maker.ui.makeStartButton.enabled
    maker.ui.makeSegmentationSelector.setCurrentNode(node)
    maker.settle()
    text = maker.ui.makeSourceLabel.text
    assert text.startswith("Mandible, Brainstem.") and text.endswith(": Screw.")
    maker.make()
    labels, grid = read_image(maker.out / ".source" / "labels.nii.gz")
    names = {name: int(value) for value, name in json.loads((maker.out / ".source" / "labels.json").read_text()).items()}
    assert set(names) == {"mandible", "brainstem"} and grid.shape == (30, 28, 26)
    for structure, name in (("mandible", "Mandible"), ("brainstem", "brain stem")):
        drawn = np.zeros((26, 28, 30), bool)
        drawn[boxes[name]] = True
        assert np.array_equal(labels == names[structure], drawn.T)
    assert maker.spec()["dataset"] == {"labels": "labels.nii.gz", "structures": ["mandible", "brainstem"]}
    made = Cohort.open(maker.out).cases()
    assert sorted(one.structure for one in made) == ["brainstem"] * 2 + ["mandible"] * 2 and {one.group for one in made} == {"g0001"}


def test_a_segmentation_without_a_known_structure_is_refused(maker):
    node = box_segmentation(Screw=np.s_[1:3, 1:3, 1:3])
    maker.show("segmentation")
    maker.ui.makeSegmentationSelector.setCurrentNode(node)
    maker.settle()
    assert not maker.ui.makeStartButton.enabled and "Screw" in maker.ui.makeNoteLabel.text


def test_a_data_set_is_named_by_its_folder(maker):
    data = maker.folder / "data"
    (data / "labelsTr").mkdir(parents=True)
    maker.show("dataset")
    maker.ui.makeDatasetPath.setCurrentPath(str(data))
    maker.settle()
    assert not maker.ui.makeStartButton.enabled and "dataset.json" in maker.ui.makeNoteLabel.text
    (data / "dataset.json").write_text('{"labels": {"background": 0, "mandible": 1}}')
    (data / "labelsTr" / "p1.nii.gz").touch()
    maker.ui.makeDatasetPath.setCurrentPath(f"{data}/")
    maker.settle()
    assert maker.ui.makeStartButton.enabled and maker.ui.makeSourceLabel.text.startswith("Cases in it: 1.")
    held_jobs(maker)
    maker.start()
    assert maker.spec()["dataset"] == {"path": str(data)} and maker.spec()["bundle"] == "headneck"


def test_folders_that_hold_something_are_refused_before_anything_is_written(maker):
    maker.module.describe("a large mandible")
    maker.show("scene")
    full = maker.folder / "full"
    full.mkdir()
    (full / "thesis.txt").write_text("mine")
    root = make_cohort(maker.folder / "old", 1)
    for folder, words in (
        (full, "is not empty"),
        (root, "holds a cohort already"),
        (full / "thesis.txt", "is a file"),
        ("", "Choose a folder"),
    ):
        maker.ui.makeFolderPath.setCurrentPath(str(folder))
        maker.settle()
        assert words in maker.ui.makeNoteLabel.text and not maker.ui.makeStartButton.enabled
        maker.panel.make()  # as if it had been filled after the look
    assert [path.name for path in full.iterdir()] == ["thesis.txt"] and not (root / ".source").exists() and not maker.panel.isRunning


def test_a_folder_that_cannot_be_made_is_told(maker):
    maker.module.describe("a large mandible")
    maker.show("scene")
    (maker.folder / "file").touch()
    maker.ui.makeFolderPath.setCurrentPath(str(maker.folder / "file" / "cohort"))
    maker.settle()
    maker.start()
    assert "a part of that path is a file" in maker.ui.makeNoteLabel.text and not maker.panel.isRunning and maker.ui.makeGroup.visible


# The run


def test_cases_are_listed_and_can_be_reviewed_while_others_are_made(maker):
    maker.module.draw_mandible()
    maker.show(count=6)
    maker.behave(seconds=1.0)
    maker.start()
    assert maker.panel.isRunning and not maker.ui.makeGroup.visible and maker.ui.makeBar.visible
    maker.wait(lambda: maker.ui.makeReviewButton.enabled)
    maker.ui.reviewerEdit.setText("AB")
    maker.ui.reviewerEdit.editingFinished.emit()
    maker.desktop.click(maker.ui.makeReviewButton)
    session = maker.cohort.session
    assert session.cohort.root == maker.out and 1 <= maker.ui.cohortTable.rowCount < 6 and maker.panel.isRunning
    assert not maker.ui.makeReviewButton.visible and not maker.ui.goOnButton.visible
    maker.desktop.key("Red", "A")
    assert session.status(case(1)) == "accepted"
    maker.wait(lambda: maker.ui.cohortTable.rowCount >= 3)
    assert maker.panel.isRunning and "of 6" in maker.ui.makeBar.format and "left" in maker.ui.makeBar.format
    maker.wait()
    assert maker.ui.cohortTable.rowCount == 6 and not maker.ui.goOnButton.visible and session.status(case(1)) == "accepted"
    assert maker.ui.cohortTable.item(0, 2).text() == "accepted"


def test_a_cancel_keeps_the_complete_cases_and_go_on_makes_the_others_only(maker):
    maker.module.draw_mandible()
    maker.show(count=5)
    maker.behave(seconds=0.6)
    maker.start()
    maker.wait(lambda: maker.panel.run.done >= 2)
    maker.desktop.click(maker.ui.makeCancelButton)
    assert maker.ui.makeCancelButton.text == "Cancelling..."
    maker.wait()
    kept = {name: (maker.out / "cases" / name / "labels.nii.gz").stat().st_mtime_ns for name in Cohort.open(maker.out).names()}
    assert 2 <= len(kept) < 5 and maker.status.startswith("Cancelled.") and f"{len(kept)} of 5" in maker.status
    assert maker.desktop.dialogs == [] and not (maker.out / ".lock").exists()
    maker.behave()
    maker.desktop.click(maker.ui.makeReviewButton)
    assert maker.ui.goOnButton.visible and maker.ui.goOnButton.text == f"Make the missing cases ({5 - len(kept)})"
    maker.desktop.click(maker.ui.goOnButton)
    maker.wait()
    assert "5 of 5" in maker.status and f"{5 - len(kept)} of them new" in maker.status and not maker.ui.goOnButton.visible
    assert {name: (maker.out / "cases" / name / "labels.nii.gz").stat().st_mtime_ns for name in kept} == kept


def test_a_cohort_that_was_moved_is_gone_on_with(maker):
    maker.module.draw_mandible()
    maker.show(count=3)
    maker.make(fault="sigkill")
    moved = maker.folder / "elsewhere"
    maker.out.rename(moved)
    maker.behave()
    maker.cohort.open(str(moved))
    maker.desktop.click(maker.ui.goOnButton)
    maker.wait()
    assert len(Cohort.open(moved).names()) == 3 and "3 of 3" in maker.status


def test_a_killed_backend_is_told_and_nothing_is_lost(maker):
    maker.module.draw_mandible()
    maker.show(count=4)
    maker.make(fault="sigkill")
    assert "memory ran out" in maker.status and "what is complete is kept" in maker.desktop.dialogs.texts("error")[-1]
    assert Cohort.open(maker.out).names() == [case(1), case(2)]
    maker.behave()
    maker.cohort.open(str(maker.out))
    maker.desktop.click(maker.ui.goOnButton)  # the lock of the dead is taken over
    maker.wait()
    assert len(Cohort.open(maker.out).names()) == 4


def test_a_backend_that_does_not_listen_is_ended_by_force(maker):
    maker.module.draw_mandible()
    maker.show()
    maker.behave(fault="deaf", patience=300)
    maker.start()
    maker.wait(lambda: maker.panel.run.fraction > 0)
    pid = maker.children[0].pid
    maker.desktop.click(maker.ui.makeCancelButton)
    maker.wait()
    assert maker.status.startswith("Cancelled.") and maker.desktop.wait(lambda: not alive(pid), 5) and maker.desktop.dialogs == []


def test_failed_cases_are_counted_and_tried_again_on_request(maker):
    maker.module.draw_mandible()
    maker.show(count=3)
    maker.make(fault="sketch")
    assert (
        "2 of 3" in maker.status
        and "1 failed" in maker.status
        and f"{case(2)}: The sketch is &lt;too&gt; small. Draw larger." in maker.status
    )
    maker.cohort.open(str(maker.out))
    assert maker.ui.goOnButton.visible and maker.ui.goOnButton.text == "Try the failed cases again (1)"
    maker.behave()
    maker.desktop.click(maker.ui.goOnButton)
    maker.wait()
    assert "3 of 3" in maker.status and "failed" not in maker.status and maker.ui.cohortTable.rowCount == 3


def test_a_full_disk_stops_the_run_and_says_how_to_go_on(maker):
    maker.module.draw_mandible()
    maker.show(count=5)
    maker.make(fault="full")
    assert "the disk is full" in maker.status and "goes on from there" in maker.status
    assert Cohort.open(maker.out).names() == [case(1), case(2)] and Cohort.open(maker.out).failed() == []


def test_a_missing_package_is_told_and_leaves_no_folder(maker):
    maker.module.draw_mandible()
    maker.show()
    maker.make(fault="import")
    assert "lacks a package" in maker.status and "Environment" in maker.status
    assert "a_package_that_nobody_has" in maker.desktop.dialogs[-1].detail and not maker.out.exists()
    maker.show()
    assert maker.ui.makeStartButton.enabled


def test_what_the_command_refuses_is_told_and_leaves_no_folder(maker):
    data = maker.folder / "data"
    (data / "labelsTr").mkdir(parents=True)
    (data / "labelsTr" / "p1.nii.gz").touch()
    (data / "dataset.json").write_text('{"labels": {"background": 0, "unicorn": 1}}')
    maker.show("dataset")
    maker.ui.makeDatasetPath.setCurrentPath(str(data))
    maker.settle()
    maker.make()
    assert "unicorn" in maker.status and maker.desktop.dialogs == [] and not maker.out.exists()


def test_a_run_of_another_process_is_respected_and_its_cases_appear(maker):
    root = make_cohort(maker.folder / "theirs", 2)
    lengthen(root, 20)
    write_facts(root, 22, spec={"structures": ["mandible"], "count": 22})
    lock = {"host": os.uname().nodename, "process": os.getpid(), "start": None, "since": "2026-01-01T00:00:00Z", "token": "x"}
    (root / ".lock").write_text(json.dumps(lock))
    maker.cohort.open(str(root))
    maker.desktop.click(maker.ui.goOnButton)
    maker.wait()
    assert "Another run is at work" in maker.status and (root / ".lock").exists() and len(Cohort.open(root).names()) == 20
    bar, shown = maker.ui.cohortTable.verticalScrollBar(), maker.cohort.session.current
    bar.setValue(7)
    make_case(root / ".work" / case(21), 21, SMALL)
    (root / ".work" / case(21)).rename(root / "cases" / case(21))
    maker.wait(lambda: maker.ui.cohortTable.rowCount == 21)
    assert maker.cohort.session.current == shown == case(1) and "1 still to be made" in maker.ui.cohortLabel.text
    assert bar.value == 7  # who looks further down is not taken back


def test_closing_the_scene_leaves_the_run_alone_and_closing_the_module_ends_it(maker):
    maker.module.draw_mandible()
    maker.show(count=50)
    maker.behave(seconds=0.5)
    maker.start()
    maker.wait(lambda: maker.panel.run.done >= 1)
    pid, out = maker.children[0].pid, maker.out
    slicer.mrmlScene.Clear(0)
    before = maker.panel.run.done
    maker.wait(lambda: maker.panel.run.done > before)
    slicer.util.reloadScriptedModule("Sketch2CTModule")
    assert maker.desktop.wait(lambda: not alive(pid), 10)
    assert 1 <= len(Cohort.open(out).names()) < 50 and Cohort.open(out).damaged() == {}


def test_the_time_is_that_of_the_last_run(maker):
    maker.module.draw_mandible()
    maker.show(count=40)
    assert "after the first case" in maker.ui.makeNoteLabel.text
    settings().setValue("Sketch2CT/secondsPerCase/ct", "15.0")
    maker.panel.update()
    assert maker.ui.makeNoteLabel.text == "About 10 min, at 15 s a case as in the last run."
    maker.ui.makeCtCheck.checked = False
    maker.settle()
    assert "after the first case" in maker.ui.makeNoteLabel.text
    maker.ui.makeCountSpin.value = 2
    maker.make(seconds=0.4)
    measured = float(settings().value("Sketch2CT/secondsPerCase/mask"))
    assert 0.4 <= measured < 30 and settings().value("Sketch2CT/secondsPerCase/ct") == "15.0"
    maker.show(count=1000)
    assert maker.out.name == "cohort-002" and "as in the last run" in maker.ui.makeNoteLabel.text


def test_the_real_backend_makes_a_case_for_the_module(module, tmp_path):
    module.draw_mandible()
    module.choose(module.ui.qualitySelector, "draft")
    module.ui.cohortSection.collapsed = False
    module.desktop.click(module.ui.makeButton)
    module.ui.makeCountSpin.value, module.ui.makeCtCheck.checked = 1, False
    module.panel.cohortMake.update()
    out = Path(module.ui.makeFolderPath.currentPath)
    module.desktop.click(module.ui.makeStartButton)
    assert module.desktop.wait(lambda: not module.panel.cohortMake.isRunning, 300)
    made = Cohort.open(out).case(case(1))
    assert "1 of 1 complete" in module.ui.makeStatusLabel.text, module.ui.makeStatusLabel.text
    labels, grid = read_image(made.labels_path())
    found = grid.to_ras(np.argwhere(labels)).mean(axis=0)
    assert made.structure == "mandible" and np.linalg.norm(found - made.request().sketches[0].points().mean(axis=0)) < 40
