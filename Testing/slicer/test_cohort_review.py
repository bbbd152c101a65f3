"""Reviewing a cohort in the module: keys, verdicts, the nodes in the scene, edits, and what may go wrong on the disk."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess

import numpy as np
import pytest
import slicer

from module_driver import ModuleDriver
from review_cohorts import BUNDLE_HASH, lengthen, make_cohort, mandible
from reviewing import Reviewing, case
from sketch2ct.cohort.folder import Cohort
from sketch2ct.imaging import read_ct, read_image
from sketch2ct.review.store import ReviewStore
from sketch2ct.review.verdict import Verdict

CT, MASK, CURVE = "vtkMRMLScalarVolumeNode", "vtkMRMLSegmentationNode", "vtkMRMLMarkupsClosedCurveNode"
CASES = 6


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    return make_cohort(tmp_path_factory.mktemp("cohorts") / "pristine", CASES, total=8)


@pytest.fixture
def root(pristine, tmp_path):
    return shutil.copytree(pristine, tmp_path / "cohort")


@pytest.fixture
def module(desktop, tmp_path, monkeypatch):
    from Sketch2CTModuleLib.EnvironmentCheck import EnvironmentCheck

    monkeypatch.setattr(EnvironmentCheck, "run", lambda self: None)
    return ModuleDriver(desktop, tmp_path / "results")


@pytest.fixture
def review(module, root):
    return Reviewing(module, root)


def nodes(kind):
    return [node for node in slicer.util.getNodesByClass(kind) if node.GetAttribute("Sketch2CT.role") == "review"]


def shown_voxels():
    return slicer.util.arrayFromVolume(nodes(CT)[0])


def shown_mask():
    return slicer.util.arrayFromSegmentBinaryLabelmap(nodes(MASK)[0], "mandible", nodes(CT)[0])


# Opening


def shown_widgets(ui):
    """What a user sees of the section, by name."""
    section = ui.cohortSection
    inside = {name: widget for name, widget in vars(ui).items() if widget.isWidgetType() and section.isAncestorOf(widget)}
    return {name for name, widget in inside.items() if widget is not section and widget.isVisibleTo(section)}


def test_before_a_cohort_is_open_there_is_one_sentence_and_two_buttons(module, root, tmp_path):
    nothing = {"cohortLabel", "cohortOpenButton", "makeButton"}
    module.ui.cohortSection.collapsed = False
    assert shown_widgets(module.ui) == nothing and module.ui.cohortLabel.text.startswith("Open a cohort")
    review = Reviewing(module, root)
    opened = {"reviewerEdit", "cohortFilterSelector", "cohortTable", "caseLabel", "acceptButton", "scoreRow", "noteEdit", "reviewKeysLabel"}
    assert opened | {"exportButton", "cohortMergeButton", "cohortAgreementButton"} <= shown_widgets(review.ui)
    assert review.ui.cohortLabel.text.startswith("<b>cohort</b>: ") and review.ui.cohortLabel.toolTip == str(root)
    review.open(tmp_path)  # no cohort
    assert shown_widgets(review.ui) == nothing and "neither a cohort nor a result" in review.ui.cohortLabel.text


def test_open_begins_where_the_last_cohort_was_and_cancelling_changes_nothing(review, monkeypatch):
    import qt

    asked = []
    monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", staticmethod(lambda *given: asked.append(given[-1]) or ""))
    review.press("N")
    review.desktop.click(review.ui.cohortOpenButton)
    assert asked == [str(review.root)] and review.current == case(2)


# From case to case


def test_the_first_case_to_do_is_shown_when_a_cohort_is_opened(module, root):
    ReviewStore(root).add(Verdict(case(1), "AB", "accepted"))
    review = Reviewing(module, root)
    assert (
        review.current == case(2) and "1 of 6 reviewed" in review.ui.cohortLabel.text and "2 still to be made" in review.ui.cohortLabel.text
    )
    assert np.array_equal(shown_voxels(), read_ct(root / "cases" / case(2) / "ct.nii.gz").array.T)
    assert np.array_equal(shown_mask(), read_image(root / "cases" / case(2) / "labels.nii.gz")[0].T)


def test_next_and_previous_go_through_the_same_nodes(review):
    before = {node.GetID() for kind in (CT, MASK, CURVE) for node in nodes(kind)}
    everything = slicer.mrmlScene.GetNumberOfNodes()
    review.press("N", "N", "P", "N", "N")
    assert review.current == case(4)
    assert {node.GetID() for kind in (CT, MASK, CURVE) for node in nodes(kind)} == before and len(before) == 3
    assert slicer.mrmlScene.GetNumberOfNodes() == everything
    assert np.array_equal(shown_voxels(), read_ct(review.root / "cases" / case(4) / "ct.nii.gz").array.T)
    assert np.array_equal(shown_mask(), read_image(review.root / "cases" / case(4) / "labels.nii.gz")[0].T)
    sketch = Cohort.open(review.root).case(case(4)).request().sketches[0]
    assert np.allclose(slicer.util.arrayFromMarkupsControlPoints(nodes(CURVE)[0]), sketch.strokes[0], atol=1e-6)
    assert all(case(4) in node.GetName() and "SYNTHETIC" in node.GetName() for node in (*nodes(CT), *nodes(MASK)))
    review.press("N", "N", "N", "N")
    assert review.current == case(6)
    review.press(*["P"] * 9)
    assert review.current == case(1)


def test_slice_views_are_at_the_structures_centre(review):
    review.press("N", "N")
    labels, grid = read_image(review.root / "cases" / case(3) / "labels.nii.gz")
    found = grid.to_ras(np.argwhere(labels))
    centre = (found.min(axis=0) + found.max(axis=0)) / 2
    for view, axis in (("Red", 2), ("Green", 1), ("Yellow", 0)):
        matrix = slicer.util.arrayFromVTKMatrix(review.desktop.views[view].node.GetSliceToRAS())
        assert abs(matrix[axis, 3] - centre[axis]) < 2.1, view  # half a voxel
        assert review.desktop.views[view].composite.GetBackgroundVolumeID() == nodes(CT)[0].GetID()
    review.press("K")
    plane = Cohort.open(review.root).case(case(3)).request().sketches[0].plane.matrix
    matrix = slicer.util.arrayFromVTKMatrix(review.desktop.views["Red"].node.GetSliceToRAS())
    assert abs(matrix[2, 3] - plane[2, 3]) < 1e-3 and abs(plane[2, 3] - centre[2]) > 5


def test_a_bone_is_shown_in_a_window_for_bone_until_the_user_chooses_another(module, tmp_path):
    review = Reviewing(module, make_cohort(tmp_path / "cohort", 3))
    for name in ("request.json", "labels.json"):
        soft = review.root / "cases" / case(2) / name
        soft.write_text(soft.read_text().replace("mandible", "brainstem"))
    review.open(review.root)
    display, seen = nodes(CT)[0].GetDisplayNode(), []
    for key in ("P", "N", "N"):
        review.press(key)
        seen.append((display.GetWindow(), display.GetLevel()))
    assert seen == [(1500, 300), (350, 40), (1500, 300)]
    display.SetWindowLevel(700, 90)
    review.press("P")
    assert (display.GetWindow(), display.GetLevel()) == (700, 90)


def test_the_arrows_go_through_the_table_and_a_click_shows_its_case(review):
    table = review.ui.cohortTable
    review.press("Down", "Down", on=table)
    assert review.current == case(3) and shown_voxels().max() == 703
    review.press("Up", on=table)
    assert review.current == case(2) and shown_voxels().max() == 702
    review.press("Down", on="Red")  # in a slice view the arrow is Slicer's own
    assert review.current == case(2)
    table.setCurrentCell(4, 2)
    assert review.current == case(5) and shown_voxels().max() == 705


def test_surfaces_are_made_only_for_a_3d_view(review):
    closed = slicer.vtkSegmentationConverter.GetClosedSurfaceRepresentationName()
    manager, layout = slicer.app.layoutManager(), slicer.vtkMRMLLayoutNode
    manager.setLayout(layout.SlicerLayoutOneUpRedSliceView)
    review.press("N")
    review.desktop.wait(lambda: False, 0.3)
    assert not nodes(MASK)[0].GetSegmentation().ContainsRepresentation(closed)
    manager.setLayout(layout.SlicerLayoutFourUpView)
    assert review.desktop.wait(lambda: nodes(MASK)[0].GetSegmentation().ContainsRepresentation(closed), 5)
    review.press("N")
    assert review.desktop.wait(lambda: nodes(MASK)[0].GetClosedSurfaceInternalRepresentation("mandible") is not None, 5)
    assert not review.panel.viewer.isEdited  # making surfaces is no edit


def test_the_users_own_sketches_and_their_undo_are_left_alone(module, root):
    module.draw_mandible()
    stroke = module.panel.book.strokes()[0]
    review = Reviewing(module, root)
    review.press("N", "A", "N")
    assert module.panel.book.strokes() == (stroke,) and module.panel.book.canUndo and not module.panel.book.canRedo
    module.panel.book.undo()
    assert module.panel.book.strokes() == () and len(nodes(CURVE)) == 1


# Verdicts


def test_each_verdict_is_kept_and_brings_the_next_case(review):
    seen = []
    show = review.panel.viewer.show
    review.panel.viewer.show = lambda name: (seen.append((name, len(review.store.rows()))), show(name))
    review.press("A", "X", "E")
    assert [review.said(n).status for n in (1, 2, 3)] == ["accepted", "rejected", "needs_edit"] and review.current == case(4)
    assert seen == [(case(2), 1), (case(3), 2), (case(4), 3)]  # on the disk before the next case appears
    first = review.said(1)
    assert (first.reviewer, first.bundle_hash, first.mask_version) == ("AB", BUNDLE_HASH, 0)
    assert [row["Status"] for row in review.texts()[:4]] == ["accepted", "rejected", "needs edit", ""]
    assert "3 of 6 reviewed" in review.ui.cohortLabel.text


def test_buttons_do_what_the_keys_do(review):
    for button in (review.ui.acceptButton, review.ui.rejectButton, review.ui.needsEditButton):
        review.desktop.click(button)
    assert [review.said(n).status for n in (1, 2, 3)] == ["accepted", "rejected", "needs_edit"]
    review.desktop.click(review.ui.undoVerdictButton)
    assert review.current == case(3) and review.said(3) is None


def test_digits_score_one_criterion_after_the_other(review):
    review.press("4", "Q", "2", "A")
    kept = review.said(1)
    assert (kept.realism, kept.anatomy, kept.agreement, kept.status) == (4, None, 2, "accepted")
    assert review.current == case(2) and review.ui.realismSpin.value == 0 and review.ui.realismLabel.text == "<b>Realism</b>"
    review.press("P")
    assert (review.ui.realismSpin.value, review.ui.anatomySpin.value, review.ui.agreementSpin.value) == (4, 0, 2)
    review.ui.anatomySpin.value = 5
    assert review.said(1).anatomy == 5 and review.said(1).status == "accepted"
    review.ui.anatomySpin.value = 0
    assert review.said(1).anatomy is None and review.texts()[0]["Scores"] == "4 \u2013 2"


def test_undo_goes_back_to_the_case(review):
    review.press("A", "X", "N", "U")
    assert review.current == case(2) and review.said(2) is None and review.said(1).status == "accepted"
    review.press("U")
    assert review.current == case(1) and review.store.latest() == {} and [row["Status"] for row in review.texts()] == [""] * CASES
    review.press("U")
    assert "nothing to undo" in review.ui.cohortLabel.text and len(review.store.rows()) == 4


def test_enter_leads_to_the_note_where_letters_are_text(review):
    review.press("Return")
    assert review.ui.noteEdit.hasFocus()
    review.desktop.type(review.ui.noteEdit, "an axe 15 au")
    assert review.current == case(1) and review.store.rows() == []
    review.press("Return", on=review.ui.noteEdit)
    assert review.said(1).note == "an axe 15 au" and review.said(1).status is None and review.ui.cohortTable.hasFocus()
    review.press("A", on=review.ui.cohortTable)
    assert (review.said(1).note, review.said(1).status) == ("an axe 15 au", "accepted") and review.ui.noteEdit.text == ""
    review.ui.noteEdit.setText("not yet kept")
    review.press("N")
    assert review.said(2).note == "not yet kept" and review.said(3) is None


def test_typing_elsewhere_is_no_verdict(review):
    for widget in (review.ui.reviewerEdit, review.ui.descriptionEdit):
        review.desktop.type(widget, "axe15nqu")
    assert review.store.rows() == [] and review.current == case(1)
    review.desktop.key(review.ui.reviewerEdit, "Return")
    assert not review.ui.noteEdit.hasFocus()


def test_slicers_own_keys_in_a_slice_view_stay_slicers(review):
    node = review.desktop.views["Red"].node
    node.SetFieldOfView(33, 33, 1)
    review.desktop.move("Red", (60, 60))
    review.press("R", "F", "B", "G", "T", "V")
    assert review.store.rows() == [] and review.current == case(1) and node.GetFieldOfView()[0] > 40  # R fits the view


def test_keys_act_only_while_the_review_is_on(review):
    review.desktop.click(review.ui.reviewKeysCheck)
    review.press("A")
    review.desktop.click(review.ui.reviewKeysCheck)
    review.ui.cohortSection.collapsed = True
    review.press("A")
    review.ui.cohortSection.collapsed = False
    slicer.util.selectModule("SegmentEditor")
    review.press("A", "N")
    assert review.store.rows() == [] and review.current == case(1)
    slicer.util.selectModule("Sketch2CTModule")
    review.press("A")
    assert review.said(1).status == "accepted"


def test_a_key_that_is_held_down_goes_through_cases_but_gives_one_verdict(review):
    repeated = {shortcut.key.toString() for shortcut in review.panel.keys._shortcuts if shortcut.autoRepeat}
    assert repeated == {"N", "P"}


def test_a_verdict_needs_a_name(module, root):
    review = Reviewing(module, root, reviewer=" ")
    review.press("A")
    assert review.store.rows() == [] and review.current == case(1) and "Enter your name" in review.ui.cohortLabel.text
    review.name("CD")
    review.press("A")
    assert review.said(1, "CD").status == "accepted"


def test_filters_list_what_they_say(review):
    review.store.add(Verdict(case(2), "CD", "rejected"))
    review.press("A", "A", "X", "E")
    listed = {}
    for name in ("all", "todo", "flagged", "accepted", "rejected", "needs_edit", "disputed"):
        review.open(review.root)
        review.filter(name)
        listed[name] = [int(row["Case"][-1]) for row in review.texts()]
    assert listed["all"] == [1, 2, 3, 4, 5, 6] and listed["todo"] == [5, 6] and listed["flagged"] == [5]
    assert (listed["accepted"], listed["rejected"], listed["needs_edit"], listed["disputed"]) == ([1], [3], [4], [2])


def test_what_is_to_do_shrinks_with_every_verdict(review):
    review.filter("todo")
    review.press("N", "A")
    assert review.current == case(3) and [row["Case"] for row in review.texts()] == [case(n) for n in (1, 3, 4, 5, 6)]
    review.press("X")
    assert review.current == case(4) and review.ui.cohortTable.currentRow() == 1
    review.press("U")
    assert review.current == case(3) and review.ui.cohortTable.rowCount == 5


def test_a_click_on_a_title_sorts_and_next_follows_the_order(review):
    header = review.ui.cohortTable.horizontalHeader()
    header.sectionClicked.emit(4)  # volume
    rows = review.texts()
    volumes = [float(row["Volume"].split()[0]) for row in rows]
    assert volumes == sorted(volumes) and volumes[0] < volumes[-1]
    order = [row["Case"] for row in rows]
    review.panel._goTo(order[0])
    review.press("N", "N")
    assert review.current == order[2]
    header.sectionClicked.emit(4)
    assert [row["Case"] for row in review.texts()] == order[::-1]
    header.sectionClicked.emit(1)
    assert [row["Case"] for row in review.texts()] == [case(n) for n in range(1, CASES + 1)]


def test_the_table_says_what_was_asked_and_measured(review):
    fifth = review.texts()[4]
    assert fifth["Structure"] == "Mandible" and "mandible" in fifth["Description"] and fifth["Dice"] == "0.74"
    assert fifth["Volume"].endswith(" mL") and "only 0.74" in fifth["Flags"] and review.texts()[0]["Flags"] == ""
    assert not review.ui.cohortTable.item(0, 0).icon().isNull()
    assert "only 0.74" in review.ui.cohortTable.item(4, 1).toolTip() and review.ui.cohortTable.item(0, 1).toolTip() == case(1)
    review.press("N", "N", "N", "N")
    assert all(word in review.ui.caseLabel.text for word in (case(5), "Mandible", "Dice 0.74", "only 0.74"))


def test_rows_are_filled_as_they_come_into_sight(module, root):
    lengthen(root, 300)
    review = Reviewing(module, root)
    table = review.ui.cohortTable
    filled = lambda: [row for row in range(300) if table.item(row, 0) is not None]  # noqa: E731
    assert table.rowCount == 300 and filled() == list(range(len(filled()))) and len(filled()) < 20
    table.verticalScrollBar().setValue(table.verticalScrollBar().maximum)
    review.desktop.wait(lambda: 299 in filled(), 5)
    assert table.item(299, 1).text() == case(300) and not table.item(299, 0).icon().isNull() and 150 not in filled()


def test_two_reviewers_who_disagree_are_told_apart(review):
    review.press("A", "A")
    review.name("CD")
    assert review.current == case(3) and review.ui.cohortLabel.text.startswith("<b>cohort</b>: 0 of 6")
    review.press("P", "P", "X", "A")
    assert [row["Status"] for row in review.texts()[:3]] == ["disputed", "accepted", ""]
    assert review.said(1, "AB").status == "accepted" and review.said(1, "CD").status == "rejected"
    review.desktop.click(review.ui.cohortAgreementButton)
    assert "Verdict: 1 of 2 equal (50 %)" in review.desktop.dialogs[-1].text and "AB and CD" in review.desktop.dialogs[-1].text


def test_the_verdicts_of_a_copy_are_merged(review, tmp_path):
    shutil.copytree(review.root, tmp_path / "copy")
    review.press("A", "A")
    ReviewStore(tmp_path / "copy").add(Verdict(case(2), "CD", "rejected"))
    review.desktop.dialogs.answer(str(tmp_path / "copy" / "reviews.sqlite"))
    review.desktop.click(review.ui.cohortMergeButton)
    assert "1 new" in review.desktop.dialogs[-1].text
    assert [row["Status"] for row in review.texts()[:2]] == ["accepted", "disputed"]


# Edits


def cut(fraction=0.25):
    """Take the first voxels of the shown mandible away, as Segment Editor would; how many are left, and which went (k, j, i)."""
    node = nodes(MASK)[0]
    voxels = slicer.util.arrayFromSegmentInternalBinaryLabelmap(node, "mandible")
    hole = np.argwhere(voxels)[: int((voxels > 0).sum() * fraction)]
    voxels[tuple(hole.T)] = 0
    node.GetSegmentation().GetSegment("mandible").Modified()
    return int((voxels > 0).sum())


def test_an_edited_mask_becomes_a_version_and_the_verdict_refers_to_it(review):
    before = read_image(review.root / "cases" / case(1) / "labels.nii.gz")
    review.desktop.click(review.ui.editCaseButton)
    assert review.desktop.selected[-1] == "SegmentEditor"
    left = cut()
    expected = shown_mask().T
    slicer.util.selectModule("Sketch2CTModule")
    assert review.ui.keepEditButton.enabled
    review.press("A")
    chosen = Cohort.open(review.root).case(case(1))
    array, grid = read_image(chosen.labels_path())
    assert chosen.versions() == [1] and np.array_equal(array, expected) and (array > 0).sum() == left < (before[0] > 0).sum()
    assert array.dtype == before[0].dtype and np.allclose(grid.affine, before[1].affine) and chosen.names() == {1: "mandible"}
    assert chosen.edit(1)["reviewer"] == "AB" and chosen.edit(1)["base"] == 0
    assert np.array_equal(read_image(chosen.folder / "labels.nii.gz")[0], before[0])  # the generated one is never overwritten
    assert review.said(1).mask_version == 1 and review.current == case(2) and "version 1" in review.ui.cohortLabel.text
    assert review.texts()[0]["Case"] == f"{case(1)} (edited)"
    review.press("P")
    assert shown_mask().sum() == left and "mask version 1" in review.ui.caseLabel.text
    left = cut()
    review.desktop.click(review.ui.keepEditButton)
    assert chosen.versions() == [1, 2] and chosen.edit(2)["base"] == 1 and (read_image(chosen.labels_path())[0] > 0).sum() == left
    assert not review.ui.keepEditButton.enabled


def test_going_on_keeps_an_edit_and_looking_keeps_nothing(review):
    review.press("N")
    nodes(MASK)[0].GetSegmentation().GetSegment("mandible").SetColor(0, 0, 1)  # touched, but no voxel is another
    review.press("N")
    cut()
    review.press("N", "P")
    cohort = Cohort.open(review.root)
    assert cohort.case(case(2)).versions() == [] and cohort.case(case(3)).versions() == [1]


def test_an_edit_can_be_dropped(review):
    before = shown_mask().copy()
    cut()
    review.desktop.click(review.ui.dropEditButton)
    assert np.array_equal(shown_mask(), before) and not review.panel.viewer.isEdited
    review.press("N")
    assert Cohort.open(review.root).case(case(1)).versions() == []


def test_a_new_structure_of_an_edit_gets_a_value_of_its_own(review):
    segmentation = nodes(MASK)[0].GetSegmentation()
    added = segmentation.AddEmptySegment("mine", "Larynx")
    labelmap = np.zeros_like(shown_mask())
    labelmap[4:6, 3:9, 3:5] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(labelmap, nodes(MASK)[0], added, nodes(CT)[0])
    review.press("N")
    chosen = Cohort.open(review.root).case(case(1))
    array, _ = read_image(chosen.labels_path())
    assert chosen.names() == {1: "mandible", 2: "larynx"} and np.array_equal(array == 2, labelmap.T > 0)


def test_a_segment_that_is_no_structure_is_told_and_the_case_stays(review):
    nodes(MASK)[0].GetSegmentation().AddEmptySegment("x", "Foo")
    review.press("A")
    assert "Unknown segments: 'Foo'" in review.desktop.dialogs[-1].text
    assert review.current == case(1) and review.store.rows() == []
    nodes(MASK)[0].GetSegmentation().RemoveSegment("x")
    review.press("A")
    assert review.said(1).status == "accepted" and review.current == case(2)


def test_a_left_handed_mask_keeps_its_grid_when_it_is_edited(module, tmp_path):
    from sketch2ct import results
    from sketch2ct.geometry import Grid
    from sketch2ct.imaging import CTVolume, LabelVolume

    root = make_cohort(tmp_path / "left", 1)
    folder = root / "cases" / case(1)
    affine = np.diag([-4.0, -4.0, -4.0, 1.0])
    affine[:3, 3] = [60.5, 55.25, 70.125]
    grid = Grid((28, 26, 24), affine)
    labels = mandible(grid, 1.0, 0.0)
    request = Cohort.open(root).case(case(1)).request()
    made = results.Result(
        LabelVolume(labels, grid, {7: "mandible"}), CTVolume(np.where(labels > 0, 700, 40).astype(np.int16), grid), request
    )
    made.labels.array = labels * np.uint8(7)
    results.write_images(folder, made)
    review = Reviewing(module, root)
    left = cut()
    review.press("A")
    array, kept = read_image(Cohort.open(root).case(case(1)).labels_path())
    assert np.allclose(kept.affine, affine, atol=1e-5) and set(np.unique(array)) == {0, 7} and (array > 0).sum() == left
    assert not ((array > 0) & (labels == 0)).any()  # turned around, it would not lie within what it was cut from


# What may go wrong


def test_a_damaged_case_says_why_and_takes_no_verdict(module, root):
    (root / "cases" / case(1) / "manifest.json").unlink()
    ct = root / "cases" / case(2) / "ct.nii.gz"
    ct.write_bytes(ct.read_bytes()[:3000])
    review = Reviewing(module, root)
    row = review.texts()[0]
    assert row["Status"] == "damaged" and "manifest.json is missing" in row["Description"]
    assert "manifest.json is missing" in review.ui.caseLabel.text and not review.ui.acceptButton.enabled
    review.press("A")
    assert review.store.rows() == [] and review.current == case(1)
    review.press("N", "A")
    assert review.current == case(2) and "truncated" in review.ui.caseLabel.text and review.store.rows() == []
    assert review.texts()[1]["Status"] == "damaged"
    review.press("N", "P")  # from a good case to a damaged one: the good one's picture must not stay
    assert review.current == case(2) and nodes(MASK)[0].GetSegmentation().GetNumberOfSegments() == 0
    assert not review.desktop.views["Red"].composite.GetBackgroundVolumeID()
    review.press("N", "A")
    assert review.said(3).status == "accepted" and review.current == case(4)


def test_a_mask_without_a_ct_can_be_reviewed(module, root):
    (root / "cases" / case(1) / "ct.nii.gz").unlink()
    review = Reviewing(module, root)
    assert review.current == case(1) and nodes(MASK)[0].GetSegmentation().GetNumberOfSegments() == 1
    assert not review.desktop.views["Red"].composite.GetBackgroundVolumeID()
    review.press("A", "P")
    assert review.said(1).status == "accepted" and review.current == case(1)


@pytest.mark.parametrize(("content", "words"), [(None, "neither a cohort nor a result"), ("{", "Restore cohort.json")])
def test_a_folder_that_is_no_cohort_is_told(review, tmp_path, content, words):
    (tmp_path / "other").mkdir()
    if content:
        (tmp_path / "other" / "cohort.json").write_text(content)
    review.open(tmp_path / "other")
    assert words in review.ui.cohortLabel.text and review.texts() == [] and not review.ui.acceptButton.enabled
    review.press("A", "N", "U", "3")
    review.open(review.root)
    assert review.current == case(1)


def test_results_without_a_cohort_can_be_reviewed(module, tmp_path):
    root = make_cohort(tmp_path / "made", 2)
    (root / "cohort.json").unlink()
    review = Reviewing(module, root / "cases")
    review.press("A", "X")
    assert ReviewStore(root / "cases").statuses() == {case(1): "accepted", case(2): "rejected"}


@pytest.fixture
def disk(tmp_path):
    """A small file system of its own; skips where that is not allowed."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"cannot mount a file system here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], capture_output=True)


def test_a_read_only_cohort_can_be_looked_at(module, pristine, disk):
    shutil.copytree(pristine, disk / "cohort")
    ReviewStore(disk / "cohort").add(Verdict(case(1), "CD", "accepted"))
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    review = Reviewing(module, disk / "cohort")
    assert "read-only" in review.ui.cohortLabel.text and not review.ui.acceptButton.enabled and not review.ui.editCaseButton.enabled
    review.press("A", "X", "3", "N", "U")
    assert review.current == case(2) and len(review.store.rows()) == 1 and review.texts()[0]["Status"] == "accepted"
    assert review.desktop.dialogs == []


def test_a_full_disk_is_told_and_the_case_stays(module, pristine, disk):
    shutil.copytree(pristine, disk / "cohort")
    review = Reviewing(module, disk / "cohort")
    review.press("A")
    ballast = disk / "ballast"
    with pytest.raises(OSError), ballast.open("wb", buffering=0) as stream:
        while True:
            stream.write(bytes(4096))
    review.press("X")
    assert "disk is full" in review.ui.cohortLabel.text and review.current == case(2) and review.said(2) is None
    cut()
    review.press("N")
    assert "could not be kept" in review.desktop.dialogs[-1].text and review.current == case(2)  # the edit is still there
    ballast.unlink()
    review.press("X")
    assert review.said(2).status == "rejected" and review.said(2).mask_version == 1 and review.said(1).status == "accepted"


def test_a_locked_file_is_told_and_the_case_stays(review, monkeypatch):
    from sketch2ct.review import database

    monkeypatch.setattr(database, "_BUSY_S", 0.1)
    review.press("A")
    other = sqlite3.connect(review.root / "reviews.sqlite", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    review.press("X")
    assert "another program" in review.ui.cohortLabel.text and review.current == case(2)
    other.execute("ROLLBACK")
    review.press("X")
    assert review.said(2).status == "rejected" and review.current == case(3)


def test_a_folder_that_vanishes_is_told(review):
    review.press("A")
    shutil.move(review.root, review.root.with_name("elsewhere"))
    review.press("X")
    assert review.current == case(2) and "gone" in review.ui.cohortLabel.text
    slicer.util.selectModule("SegmentEditor")
    slicer.util.selectModule("Sketch2CTModule")
    assert "gone" in review.ui.cohortLabel.text
    shutil.move(review.root.with_name("elsewhere"), review.root)
    review.open(review.root)
    assert review.current == case(2) and review.said(1).status == "accepted"


def test_closing_the_scene_keeps_the_edit_and_the_review_goes_on(review):
    review.press("N")
    cut()
    slicer.mrmlScene.Clear(0)
    assert Cohort.open(review.root).case(case(2)).versions() == [1] and nodes(CT) == [] and not review.ui.acceptButton.enabled
    review.press("A")
    assert review.store.rows() == []  # no case is on the screen
    review.press("N")
    assert review.current == case(3) and len(nodes(CT)) == len(nodes(MASK)) == 1 and shown_voxels().max() == 703
    review.press("A")
    assert review.said(3).status == "accepted"


def test_the_nodes_are_not_saved_with_the_scene(review, tmp_path):
    slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    assert nodes(CT) == nodes(MASK) == nodes(CURVE) == []
    review.press("N")
    assert len(nodes(CT)) == 1


def test_a_reloaded_module_remembers_and_uses_the_nodes_again(module, root):
    review = Reviewing(module, root)
    review.press("N")
    cut()
    before = nodes(MASK)[0]
    slicer.util.reloadScriptedModule("Sketch2CTModule")
    module.widget = slicer.util.getModuleWidget("Sketch2CTModule")
    assert Cohort.open(root).case(case(2)).versions() == [1]
    assert module.ui.reviewerEdit.text == "AB" and module.panel.cohort.session is None
    module.ui.cohortSection.collapsed = False
    review.open(root)
    assert nodes(MASK) == [before] and len(nodes(CT)) == 1
    review.press("A")
    assert review.said(1).status == "accepted"


def test_opening_another_cohort_leaves_nothing_of_the_first(review, tmp_path):
    other = make_cohort(tmp_path / "other", 2)
    review.open(other)
    assert len(nodes(CT)) == len(nodes(MASK)) == 1 and review.current == case(1) and len(review.texts()) == 2
    review.press("A")
    assert ReviewStore(other).statuses() == {case(1): "accepted"} and review.store.rows() == []
