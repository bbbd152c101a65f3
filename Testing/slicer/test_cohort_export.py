"""Exporting the reviewed cases from the module: what is offered, the run in another process, and what is said at its end."""

from __future__ import annotations

import functools
import json
import shutil
import sys
from pathlib import Path

import pytest

from backend_listener import environment
from module_driver import ModuleDriver
from review_cohorts import lengthen, make_cohort, write_facts
from sketch2ct.cohort.folder import Cohort
from sketch2ct.imaging import read_image, write_nifti
from sketch2ct.review.store import ReviewStore
from sketch2ct.review.verdict import Verdict

FAKE = Path(__file__).resolve().parents[1] / "support" / "fake_cohort.py"
CASES = 6


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    return make_cohort(tmp_path_factory.mktemp("cohorts") / "pristine", CASES)  # the fifth is flagged


@pytest.fixture
def root(pristine, tmp_path):
    return shutil.copytree(pristine, tmp_path / "cohort")


@pytest.fixture
def module(desktop, tmp_path, monkeypatch):
    from Sketch2CTModuleLib.EnvironmentCheck import EnvironmentCheck

    monkeypatch.setattr(EnvironmentCheck, "run", lambda self: None)
    return ModuleDriver(desktop, tmp_path / "results")


@pytest.fixture
def exporter(module, root):
    return Exporting(module, root)


class Exporting:
    """A user at the form of an opened cohort."""

    def __init__(self, module, root):
        self.module, self.root = module, root
        self.jobs = []
        self.ui.cohortSection.collapsed = False
        self.ui.reviewerEdit.setText("AB")
        self.ui.reviewerEdit.editingFinished.emit()
        self.cohort.open(str(root))

    ui = property(lambda self: self.module.ui)
    desktop = property(lambda self: self.module.desktop)
    panel = property(lambda self: self.module.panel.cohortExport)
    cohort = property(lambda self: self.module.panel.cohort)
    out = property(lambda self: Path(self.ui.exportFolderPath.currentPath))
    status = property(lambda self: self.ui.exportStatusLabel.text)

    def show(self):
        if not self.ui.exportButton.checked:
            self.desktop.click(self.ui.exportButton)
        self.settle()

    def settle(self):
        assert self.desktop.wait(lambda: not self.panel._count.waiting, 10)

    def choose(self, **selected):
        for name, value in selected.items():
            self.module.choose(getattr(self.ui, f"export{name.capitalize()}Selector"), value)
        self.settle()

    def numbers(self):
        """What stands in brackets behind each kind of cases."""
        selector = self.ui.exportIncludeSelector
        return [int(selector.itemText(index).rpartition("(")[2].rstrip(")")) for index in range(selector.count)]

    def hold(self):
        """Jobs that do what the test says; the arguments of each."""
        from Sketch2CTModuleLib.Signal import Signal

        exporter = self

        class Held:
            def __init__(self, arguments):
                self.arguments, self.cancelled = arguments, False
                self.event, self.ended = Signal(), Signal()
                exporter.jobs.append(self)

            def start(self):
                pass

            def cancel(self):
                self.cancelled = True

            close = start

        self.panel._makeJob = Held

    def behave(self, fault):
        from Sketch2CTModuleLib.ChildProcess import ChildProcess
        from Sketch2CTModuleLib.CohortJob import CohortJob

        def child(arguments):
            return ChildProcess(sys.executable, [str(FAKE), "0", fault, *arguments], environment())

        self.panel._makeJob = functools.partial(CohortJob, child=child)

    def start(self):
        assert self.ui.exportStartButton.enabled, self.ui.exportNoteLabel.text
        self.desktop.click(self.ui.exportStartButton)

    def wait(self):
        assert self.desktop.wait(lambda: not self.panel.isRunning, 120), self.status


def case(number):
    return f"case-{number:05d}"


def verdict(root, number, status, **more):
    ReviewStore(root).add(Verdict(case(number), more.pop("reviewer", "AB"), status, **more))


def ended(done=None, **error):
    from Sketch2CTModuleLib.BackendError import BackendError
    from Sketch2CTModuleLib.CohortJob import JobEnd

    return JobEnd(done or {}, BackendError(**error) if error else None)


# The form


def test_each_choice_says_how_many_cases_it_gives_and_follows_the_review(exporter):
    exporter.show()
    assert exporter.numbers() == [0, CASES, CASES]
    assert not exporter.ui.exportStartButton.enabled and "No case is accepted yet" in exporter.ui.exportNoteLabel.text
    exporter.choose(include="all")
    assert exporter.ui.exportStartButton.enabled and exporter.ui.exportNoteLabel.text == ""
    exporter.choose(include="accepted")
    exporter.desktop.key("Red", "A")
    exporter.desktop.key("Red", "X")
    exporter.desktop.key("Red", "A")
    exporter.settle()
    assert exporter.numbers() == [2, CASES - 1, CASES] and exporter.ui.exportStartButton.enabled


def test_gates_edits_and_damaged_cases_count_as_the_export_counts_them(module, root):
    facts = json.loads((root / "cases" / case(6) / "case.json").read_text())
    (root / "cases" / case(6) / "case.json").write_text(json.dumps(facts | {"gate": {"verdict": "reject", "reasons": ["Empty."]}}))
    (root / "cases" / case(5) / "labels.nii.gz").unlink()
    verdict(root, 1, "needs_edit")
    verdict(root, 2, "needs_edit")
    Cohort.open(root).add_edit(case(2), root / "cases" / case(2) / "labels.nii.gz", "AB")
    verdict(root, 3, "accepted")
    verdict(root, 3, "rejected", reviewer="CD")
    exporter = Exporting(module, root)
    exporter.show()
    assert exporter.numbers() == [0, 2, 5]  # 2 was edited since, and 4
    exporter.choose(masks="generated")
    assert exporter.numbers() == [0, 1, 5]
    exporter.choose(masks="newest", include="unrejected")
    exporter.start()
    exporter.wait()
    assert "Cases written: 2<" in exporter.status and "Skipped: 1" in exporter.status and f"{case(5)}: " in exporter.status


def test_each_format_has_a_sentence_and_a_free_folder_beside_the_cohort(exporter):
    exporter.show()
    said = set()
    for name in ("nnunet", "monai", "dicom", "totalsegmentator"):
        exporter.choose(format=name)
        assert exporter.out == exporter.root.parent / f"cohort-{name}" and exporter.ui.exportNumberSpin.visible == (name == "nnunet")
        said.add(exporter.ui.exportFormatLabel.text)
    assert len(said) == 4
    exporter.out.mkdir()
    exporter.choose(format="monai")
    exporter.choose(format="totalsegmentator")
    assert exporter.out.name == "cohort-totalsegmentator-2"
    exporter.ui.exportFolderPath.setCurrentPath("/somewhere/else")
    exporter.choose(format="dicom")
    assert str(exporter.out) == "/somewhere/else"  # the user's own choice stays


@pytest.mark.parametrize(
    ("folder", "name", "words"),
    [
        ("cohort/inner", "Sketch2CT", "lie in one another"),
        ("", "Sketch2CT", "Choose a folder"),
        ("taken", "Sketch2CT", "exists already"),
        ("free", "my set!", "cannot be that of a data set"),
    ],
)
def test_what_cannot_be_exported_so_is_said_before_the_start(exporter, tmp_path, folder, name, words):
    (tmp_path / "taken").mkdir()
    exporter.show()
    exporter.choose(include="all")
    exporter.ui.exportNameEdit.setText(name)
    exporter.ui.exportFolderPath.setCurrentPath(str(tmp_path / folder) if folder else "")
    assert words in exporter.ui.exportNoteLabel.text and not exporter.ui.exportStartButton.enabled
    exporter.hold()
    exporter.panel.export()
    assert exporter.jobs == []


def test_what_has_no_ct_or_holds_patients_is_not_offered(module, root):
    write_facts(root, CASES, spec={"mask_only": True})
    exporter = Exporting(module, root)
    exporter.show()
    exporter.choose(include="all")
    assert "masks alone" in exporter.ui.exportNoteLabel.text and not exporter.ui.exportStartButton.enabled
    write_facts(root, CASES, blind=True)
    exporter.cohort.open(str(root))
    assert exporter.cohort.session.isBlind and not exporter.ui.exportButton.enabled and not exporter.ui.exportGroup.visible
    exporter.cohort.open(str(root / "nowhere"))
    assert not exporter.ui.exportButton.enabled


def test_a_thousand_cases_are_counted_without_standing_still(module, root):
    lengthen(root, 1000)
    exporter = Exporting(module, root)
    exporter.desktop.click(exporter.ui.exportButton)
    assert exporter.panel._counts == {}  # it goes on in the background
    assert exporter.desktop.wait(lambda: exporter.panel._counts, 60) and exporter.numbers() == [0, 1000, 1000]


# The run


def test_the_form_is_what_the_command_gets(exporter):
    exporter.hold()
    exporter.show()
    exporter.choose(format="nnunet", include="unrejected", masks="generated")
    exporter.ui.exportNameEdit.setText("Jaws")
    exporter.ui.exportNumberSpin.value = 123
    out = str(exporter.out)
    exporter.start()
    told = exporter.jobs[0].arguments
    assert told[:2] == ["export", str(exporter.root)] and "--events" in told
    given = {key: told[told.index(key) + 1] for key in ("--to", "--out", "--include", "--masks", "--name", "--dataset-id")}
    assert given == {
        **{"--to": "nnunet", "--out": out, "--include": "unrejected"},
        **{"--masks": "generated", "--name": "Jaws", "--dataset-id": "123"},
    }


def test_progress_cancel_and_report(exporter):
    exporter.hold()
    exporter.show()
    exporter.choose(include="all")
    exporter.start()
    ui, job = exporter.ui, exporter.jobs[0]
    job.event.emit({"type": "progress", "stage": "Writing", "step": 3, "steps": 6, "fraction": 0.65, "eta_s": 12})
    assert ui.exportBar.value == 650 and ui.exportBar.format == "Writing 3 of 6, 12 s left" and not ui.exportGroup.visible
    exporter.desktop.click(ui.exportCancelButton)
    assert job.cancelled and not ui.exportCancelButton.enabled
    job.ended.emit(ended(code="cancelled", message="Cancelled."))
    assert "cancelled" in exporter.status and not ui.exportBar.visible and not ui.exportFolderButton.visible
    exporter.show()
    exporter.start()
    skipped = {case(n): f"It has no <mask> {n}." for n in range(1, 8)}
    done = {"out": str(exporter.root), "cases": 5, "skipped": skipped, "left_out": {"unreviewed": 3}, "notes": ["Mind the <gap>."]}
    exporter.jobs[1].ended.emit(ended(done))
    for words in ("Cases written: 5<", "3 unreviewed", "Skipped: 7<", "case-00005: It has no &lt;mask&gt; 5.", "Mind the &lt;gap&gt;."):
        assert words in exporter.status
    assert "case-00006" not in exporter.status and f"{exporter.root}/DATA_CARD.md" in exporter.status
    exporter.desktop.click(ui.exportFolderButton)
    assert exporter.desktop.dialogs[-1].kind == "url" and exporter.desktop.dialogs[-1].text == f"file://{exporter.root}"


@pytest.mark.parametrize("chosen", [False, True])
def test_missing_packages_are_told_with_what_to_type(exporter, chosen, monkeypatch):
    from Sketch2CTModuleLib import CohortExportPanel
    from Sketch2CTModuleLib.BackendPython import BackendPython

    python = BackendPython("/opt/mine/python", "chosen" if chosen else "Slicer")
    monkeypatch.setattr(CohortExportPanel.BackendPython, "find", lambda: python)
    exporter.behave("nodicom")
    exporter.show()
    exporter.choose(format="dicom", include="all")
    exporter.start()
    exporter.wait()
    typed = "/opt/mine/python -m pip install pydicom highdicom" if chosen else "slicer.util.pip_install(&#x27;pydicom highdicom&#x27;)"
    assert "needs pydicom and highdicom" in exporter.status and typed in exporter.status and exporter.desktop.dialogs == []


def test_a_backend_that_does_not_start_is_told_in_a_dialog(exporter):
    exporter.behave("import")
    exporter.show()
    exporter.choose(include="all")
    exporter.start()
    exporter.wait()
    assert "lacks a package" in exporter.status and "a_package_that_nobody_has" in exporter.desktop.dialogs[-1].detail


def test_the_accepted_cases_become_a_data_set_with_the_edited_mask(exporter):
    """The real command."""
    root = exporter.root
    labels, grid = read_image(root / "cases" / case(2) / "labels.nii.gz")
    edited = labels.copy()
    edited[0, 0, 0] = 1
    Cohort.open(root).add_edit(case(2), lambda path: write_nifti(path, edited, grid), "AB")
    verdict(root, 1, "accepted")
    verdict(root, 2, "accepted", mask_version=1)
    verdict(root, 3, "rejected")
    exporter.cohort.open(str(root))
    exporter.show()
    out = exporter.out
    exporter.start()
    exporter.wait()
    folder = next(out.glob("Dataset801_Sketch2CT*"))
    written = sorted((folder / "labelsTr").glob("*.nii.gz"))
    assert [path.name for path in written] == [f"{case(1)}.nii.gz", f"{case(2)}.nii.gz"], exporter.status
    sums = [int(read_image(path)[0].sum()) for path in written]
    assert sums[1] == int(edited.sum()) == int(labels.sum()) + 1 and (out / "DATA_CARD.md").is_file()
    assert "Cases written: 2<" in exporter.status and "1 rejected, 3 unreviewed" in exporter.status and str(out) in exporter.status
    exporter.show()
    assert exporter.out.name == "cohort-nnunet-2"
