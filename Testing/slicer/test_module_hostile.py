"""The module under a user who does everything wrong, with a fake backend that is up in a moment."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import slicer
import vtk

from backend_listener import FAKE, environment
from module_driver import ModuleDriver, nodes
from sketch2ct.errors import BadRequest
from sketch2ct.geometry import Plane

CT, MASK = "vtkMRMLScalarVolumeNode", "vtkMRMLSegmentationNode"
AXIAL = Plane.named("axial", (0, 0, 10))
CORONAL = Plane.named("coronal", (0, 5, 0))


@pytest.fixture
def module(desktop, tmp_path, monkeypatch):
    from Sketch2CTModuleLib.ChildProcess import ChildProcess
    from Sketch2CTModuleLib.EnvironmentCheck import EnvironmentCheck

    monkeypatch.setattr(EnvironmentCheck, "run", lambda self: None)
    driver = ModuleDriver(desktop, tmp_path / "results")
    driver.seconds = 0.1  # that a run takes
    child = lambda: ChildProcess(sys.executable, [str(FAKE), "--light", str(driver.seconds)], environment())  # noqa: E731
    driver.generation.backend._makeChild = child
    return driver


def sketch(module, plane=AXIAL, view="Red", structure="mandible", turns=1.0):
    angle = np.linspace(0, 2 * np.pi * turns, 40)
    module.choose(module.ui.structureSelector, structure)
    module.show(view, plane.matrix)
    module.draw(view, plane.to_ras(20 * np.stack([np.cos(angle), np.sin(angle)], axis=1)))


def start(module):
    module.generate(until=lambda: module.generation.backend.state == "busy")


def finish(module):
    module.wait(lambda: not module.generation.busy)
    module.desktop.process_events()


# Nodes


def test_the_folder_of_the_sketches_can_be_deleted(module):
    sketch(module)
    sketch(module, CORONAL, "Green")
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    folder = hierarchy.GetItemChildWithName(hierarchy.GetSceneItemID(), "Sketch2CT sketches")
    hierarchy.RemoveItem(folder, True, True)
    assert module.panel.book.strokes() == () and not module.ui.generateButton.enabled
    while module.ui.undoButton.enabled and len(module.panel.book.strokes()) < 2:
        module.desktop.click(module.ui.undoButton)
    assert len(module.panel.book.strokes()) == 2
    assert hierarchy.GetItemChildWithName(hierarchy.GetSceneItemID(), "Sketch2CT sketches")


def test_what_was_deleted_is_not_offered(module):
    sketch(module)
    module.generate()
    slicer.mrmlScene.RemoveNode(nodes(MASK)[0])
    module.desktop.process_events()
    module.desktop.wait(lambda: not module.ui.editButton.enabled)
    assert not module.ui.editButton.enabled and not module.ui.regenerateButton.enabled and module.ui.folderButton.enabled
    slicer.mrmlScene.RemoveNode(nodes(CT)[0])
    assert module.desktop.wait(lambda: module.run is None)
    assert module.ui.runLabel.text == "Nothing has been generated yet." and not module.ui.folderButton.enabled


def test_a_deleted_run_gives_way_to_the_one_before(module):
    sketch(module)
    module.generate()
    first = module.run.id
    module.generate()
    for node in (module.run.samples[0].segmentation, module.run.samples[0].volume):
        slicer.mrmlScene.RemoveNode(node)
    assert module.desktop.wait(lambda: module.run.id == first, 2) and module.ui.editButton.enabled


def test_a_copy_of_a_result_does_not_take_its_place(module):
    from Sketch2CTModuleLib.Run import Run

    sketch(module)
    module.generate()
    original = nodes(MASK)[0]
    copy = slicer.vtkMRMLSegmentationNode()
    copy.Copy(original)
    slicer.mrmlScene.AddNode(copy)
    (run,) = Run.fromScene(slicer.mrmlScene)
    assert run.samples[0].segmentation is original


# Runs


def test_a_double_click_on_generate_is_one_run(module):
    module.panel.generate.doubleClickS = 0.5
    module.seconds = 1.0
    sketch(module)
    for _ in range(2):
        module.desktop.click(module.ui.generateButton)
    assert module.generation.busy and not module.generation.cancelling
    finish(module)
    assert module.ui.statusLabel.text == "Done." and len(nodes(CT)) == 1


def test_generate_and_cancel_many_times(module):
    sketch(module)
    module.seconds = 0.5
    for pause in np.linspace(0, 0.4, 8):
        module.desktop.click(module.ui.generateButton)
        module.desktop.wait(lambda: False, pause)
        module.desktop.click(module.ui.generateButton)
        finish(module)
        assert module.ui.statusLabel.text.startswith("Cancelled")
    module.generate()
    assert len(nodes(CT)) == 1 and module.desktop.dialogs == []


def test_no_second_run_starts_from_the_review_and_the_first_keeps_its_mask(module):
    sketch(module)
    module.parameters.maskFirst = True
    module.generate()
    (mask,) = nodes(MASK)
    module.generation.backend.stop()
    module.seconds = 1.0
    start(module)
    assert not module.ui.regenerateButton.enabled
    with pytest.raises(BadRequest, match="running already"):
        module.generation.start(module.parameters, [], module.results)
    finish(module)
    assert nodes(MASK) == [mask] and len(nodes(CT)) == 1 and module.desktop.dialogs == []
    assert module.ui.regenerateButton.enabled


def test_hiding_a_sketch_keeps_the_mask_to_start_from(module):
    sketch(module)
    module.parameters.maskFirst = True
    module.generate()
    mask = module.parameters.startMask
    assert mask is not None
    module.ui.sketchTable.cellClicked.emit(0, 3)
    assert not module.panel.book.sketches()[0].visible and module.parameters.startMask is mask
    sketch(module, CORONAL, "Green")
    assert module.parameters.startMask is None


def test_a_result_is_shown_whatever_became_of_the_sketch(module):
    module.seconds = 1.0
    sketch(module)
    start(module)
    node = module.panel.book.node(module.panel.book.strokes()[0].id)
    while node.GetNumberOfControlPoints() > 2:
        node.RemoveNthControlPoint(0)
    finish(module)
    assert module.run is not None and len(nodes(CT)) == 1 and module.ui.editButton.enabled
    assert "too short" in module.ui.statusLabel.text


# The frame


def frame(kind):
    volume = slicer.mrmlScene.AddNewNodeByClass(CT, "frame")
    if kind != "empty":
        image = vtk.vtkImageData()
        image.SetDimensions(20, 20, 20)
        image.AllocateScalars(vtk.VTK_SHORT, 1)
        volume.SetAndObserveImageData(image)
    if kind == "flat":
        volume.SetIJKToRASDirections(1, 0, 0, 1, 0, 0, 0, 0, 1)
    if kind == "bent":
        before, after = vtk.vtkPoints(), vtk.vtkPoints()
        for x, y, z in ((0, 0, 0), (50, 0, 0), (0, 50, 0), (0, 0, 50), (50, 50, 50)):
            before.InsertNextPoint(x, y, z)
            after.InsertNextPoint(x, y, z + x * y / 100)
        bend = vtk.vtkThinPlateSplineTransform()
        bend.SetSourceLandmarks(before)
        bend.SetTargetLandmarks(after)
        bend.SetBasisToR()
        transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode")
        transform.SetAndObserveTransformToParent(bend)
        volume.SetAndObserveTransformNodeID(transform.GetID())
    return volume


@pytest.mark.parametrize(("kind", "told"), [("empty", "is empty"), ("flat", "no usable geometry"), ("bent", "bends it")])
def test_a_volume_that_is_no_frame_is_told(module, kind, told):
    sketch(module)
    module.parameters.frameVolume = frame(kind)
    module.desktop.click(module.ui.generateButton)
    (dialog,) = module.desktop.dialogs
    assert "'frame'" in dialog.text and told in dialog.text and not module.generation.busy
    module.parameters.frameVolume = None
    module.generate()
    assert len(nodes(CT)) == 1


# The text


def test_control_characters_do_not_spoil_the_saved_scene(module, tmp_path):
    module.describe("a broad\x0bmandible,\x0c 62 mL\x00\x1b; <b>&amp;</b> 100 % größer\n下顎")
    assert module.parameters.description == "a broad mandible,  62 mL  ; <b>&amp;</b> 100 % größer\n下顎"
    module.generate()
    said = module.parameters.description
    slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    assert module.parameters.description == module.ui.descriptionEdit.plainText == said
    assert nodes(CT)[0].GetAttribute("Sketch2CT.description") == said


def test_an_endless_text_is_told_at_once(module):
    sketch(module)
    module.describe("mandible " * 600)
    assert not module.ui.generateButton.enabled and "too long: 5400 characters" in module.ui.statusLabel.text
    module.describe("mandible")
    assert module.ui.generateButton.enabled


# Files


def test_files_that_are_gone_are_told(module):
    sketch(module)
    module.generate()
    module.desktop.click(module.ui.folderButton)
    shutil.rmtree(module.results)
    module.desktop.click(module.ui.folderButton)
    opened, told = module.desktop.dialogs
    assert opened.kind == "url" and told.kind == "error" and "is gone" in told.text


@pytest.mark.parametrize(("name", "told"), [("x" * 300, "cannot be used"), ("a file", "a part of that path is a file")])
def test_a_folder_that_cannot_be_is_told(module, tmp_path, name, told):
    (tmp_path / "a file").write_text("")
    sketch(module)
    module.ui.resultsPath.setCurrentPath(str(tmp_path / name))
    module.desktop.click(module.ui.generateButton)
    finish(module)
    (dialog,) = module.desktop.dialogs
    assert told in dialog.text and "folder" in dialog.text and module.ui.generateButton.enabled


def test_folders_with_odd_names(module, tmp_path):
    module.ui.resultsPath.setCurrentPath(str(tmp_path / "Dr. Müller's \"<b>100 %</b>" / "new"))
    sketch(module)
    module.generate()
    assert len(nodes(CT)) == 1 and module.run.samples[0].folder.parent.name == "new"
    module.ui.resultsPath.setCurrentPath("~/results")
    assert module.panel.advanced.resultsFolder() == Path.home() / "results"


# What is seen


def test_texts_have_room(module):
    for number, name in enumerate(("mandible", "parotid_gland_left", "spinal_cord")):
        sketch(module, Plane.named("axial", (0, 0, -112.5 - 5 * number)), structure=name, turns=1.0 if number else 0.7)
    module.describe("a broad mandible, about 62 mL, with thin rami; a large brainstem, tilted by 20 degrees, smooth and symmetric")
    module.desktop.wait(lambda: False, 0.1)
    words, table = module.ui.wordsLabel, module.ui.sketchTable
    assert words.height >= words.heightForWidth(words.width)
    for row in range(3):
        text = table.item(row, 0).text()
        assert table.fontMetrics().horizontalAdvance(text) + 6 <= table.columnWidth(0), text
    assert re.fullmatch(r"8\d \+ 3\d mm", table.item(0, 2).text()) and "mm to close it" in table.item(0, 2).toolTip()
    assert table.viewport().height >= 3 * table.rowHeight(0)
