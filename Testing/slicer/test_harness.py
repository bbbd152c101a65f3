"""The stand-ins behave as what they stand for, as far as modules rely on it."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest
import slicer

import headless_slicer

TOY = Path(headless_slicer.__file__).parent / "toy" / "Toy.py"


@pytest.fixture
def toy(desktop):
    return desktop.open_module(TOY)


def add_volume(name="CT"):
    voxels = np.full((20, 60, 60), -1000, np.int16)
    voxels[5:15, 15:45, 20:40] = 300
    volume = slicer.util.addVolumeFromArray(voxels, ijkToRAS=np.diag([3.0, 3.0, 4.0, 1.0]), name=name)
    volume.CreateDefaultDisplayNodes()
    return volume


def test_widgets_show_the_parameters_and_change_them(desktop, toy):
    ui, parameters = toy.ui, toy.parameters
    assert (ui.nameEdit.text, ui.colourBox.currentText, ui.countBox.value, ui.sizeSlider.value) == ("ümlaut", "green", 3, 10.0)
    assert (ui.mirrorBox.checked, ui.qualityBox.currentText, ui.volumeSelector.currentNode()) == (True, "FINE", None)
    desktop.type(ui.nameEdit, " 2")
    desktop.click(ui.mirrorBox)
    ui.notesEdit.setPlainText("two\nlines")
    ui.colourBox.currentText = "red"
    ui.qualityBox.currentIndex = 0
    ui.countBox.value = 99
    ui.sizeSlider.value = 12.5
    ui.folderEdit.currentPath = "/somewhere"
    assert (parameters.name, parameters.notes, parameters.colour) == ("ümlaut 2", "two\nlines", "red")
    assert (parameters.mirror, parameters.quality.name, parameters.count, parameters.size) == (False, "DRAFT", 9, 12.5)
    assert parameters.folder == Path("/somewhere")
    volume = add_volume()
    ui.volumeSelector.setCurrentNode(volume)
    assert parameters.volume is volume
    parameters.name = ""
    assert ui.nameEdit.text == "" and not ui.goButton.enabled


def test_the_parameters_come_back_with_the_scene(desktop, toy, tmp_path):
    volume = add_volume()
    toy.parameters.volume = volume
    toy.parameters.count, toy.parameters.notes = 7, "µ & <b>"
    slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(0)
    assert "closed" in toy.log and toy.parameters.count == 3 and toy.parameters.volume is None
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    assert toy.parameters.volume.GetName() == "CT" and toy.ui.volumeSelector.currentNode() is toy.parameters.volume
    assert (toy.parameters.count, toy.ui.countBox.value, toy.parameters.notes) == (7, 7, "µ & <b>")


def test_a_value_of_another_type_or_out_of_range_is_refused(desktop, toy):
    for name, value in {"count": 1.5, "name": 3, "size": 61.0, "colour": "blue", "volume": toy.parameters.parameterNode}.items():
        with pytest.raises((TypeError, ValueError)):
            setattr(toy.parameters, name, value)


def test_a_widget_that_slicer_cannot_connect_is_refused(desktop, toy):
    import ctk
    import qt

    pairs = {"notes": qt.QPlainTextEdit(), "count": ctk.ctkSliderWidget(), "colour": ctk.ctkComboBox(), "mirror": qt.QToolButton()}
    for name, widget in pairs.items():
        with pytest.raises(RuntimeError, match=name):
            toy.parameters.connectParametersToGui({name: widget})


def test_messages_are_written_down_and_answered(desktop, toy):
    import qt

    desktop.click(toy.ui.goButton)
    assert desktop.dialogs.texts("error") == ["It failed.\n\ncannot go, False"]
    assert "RuntimeError" in desktop.dialogs[-1].detail
    assert slicer.util.confirmYesNoDisplay("Really?")
    desktop.dialogs.answer(qt.QMessageBox.No)
    assert not slicer.util.confirmYesNoDisplay("Really?")
    desktop.dialogs.answer("/somewhere/a.txt")
    assert qt.QFileDialog.getOpenFileName(None, "Open") == "/somewhere/a.txt"
    assert qt.QFileDialog.getOpenFileName(None, "Open") == ""
    box = qt.QMessageBox()
    box.text = "Which?"
    box.addButton("Go on", qt.QMessageBox.AcceptRole)
    last = box.addButton("Stop", qt.QMessageBox.RejectRole)
    desktop.dialogs.answer(last)
    box.exec_()
    assert box.clickedButton() is last
    dialog = qt.QDialog()
    desktop.dialogs.answer(lambda shown: shown.accept())
    assert dialog.exec_() == qt.QDialog.Accepted
    assert dialog.exec_() == qt.QDialog.Rejected


def test_modules_are_entered_left_reloaded_and_cleaned_up(desktop, toy):
    assert toy.log == ["enter"]
    slicer.util.selectModule("SegmentEditor")
    assert toy.log == ["enter", "exit"] and desktop.selected == ["Toy", "SegmentEditor"]
    slicer.util.selectModule("Toy")
    slicer.util.reloadScriptedModule("Toy")
    again = slicer.util.getModuleWidget("Toy")
    assert toy.log == ["enter", "exit", "enter", "cleanup"]
    assert again is not toy and type(again) is not type(toy) and again is slicer.modules.ToyWidget
    again.ui.countBox.value = 5
    assert again.parameters.count == 5
    desktop.close()
    assert again.log == ["quit", "cleanup"] and "Toy" not in dir(slicer.modules.toy) and toy.log.count("cleanup") == 1


def test_developer_mode_offers_reload_and_test(desktop):
    import qt

    qt.QSettings().setValue("Developer/DeveloperMode", True)
    toy = desktop.open_module(TOY)
    desktop.click(toy.reloadTestButton)
    assert slicer.modules.ToyWidget is not toy and slicer.modules.ToyWidget.log == ["tested"]


def test_settings_last_for_one_test_in_its_own_folder(desktop, tmp_path):
    import qt

    assert not slicer.util.settingsValue("Developer/DeveloperMode", False, converter=slicer.util.toBool)
    slicer.app.settings().setValue("Sketch2CT/python", "/usr/bin/python3")
    qt.QSettings().sync()
    assert qt.QSettings().fileName().startswith(str(tmp_path))


@pytest.mark.parametrize("number", range(2))
def test_every_test_starts_afresh(desktop, number):
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScriptedModuleNode") == 0
    assert not hasattr(slicer.modules, "toy") and desktop.dialogs == [] and slicer.util.mainWindow() is desktop.window
    desktop.open_module(TOY)


def test_keys_reach_shortcuts_and_views(desktop, toy):
    heard = []
    desktop.views["Red"].interactor.AddObserver("KeyPressEvent", lambda caller, _event: heard.append(caller.GetKeySym()))
    desktop.key("Red", "a")
    desktop.key(toy.ui.nameEdit, "Esc")
    assert heard == ["a"] and toy.log[-1] == "escape"


def test_the_mouse_draws_where_it_is(desktop):
    """Slicer's own place mode, through Qt's events on the view."""
    volume = add_volume()
    slicer.util.setSliceViewerLayers(background=volume, fit=True)
    red = slicer.app.layoutManager().sliceWidget("Red")
    red.sliceController().setSliceOffsetValue(24.0)
    curve = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsCurveNode")
    curve.CreateDefaultDisplayNodes()
    selection = slicer.mrmlScene.GetNodeByID("vtkMRMLSelectionNodeSingleton")
    selection.SetReferenceActivePlaceNodeClassName(curve.GetClassName())
    selection.SetActivePlaceNodeID(curve.GetID())
    interaction = slicer.mrmlScene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
    interaction.SetPlaceModePersistence(True)
    interaction.SetCurrentInteractionMode(interaction.Place)
    wanted = np.array([[60.0, 60, 24], [90, 60, 24], [90, 120, 24]])
    for point in wanted:
        desktop.drag("Red", [desktop.position("Red", point)])
    drawn = slicer.util.arrayFromMarkupsControlPoints(curve)
    pixel = np.linalg.norm(desktop.ras("Red", (0, 0)) - desktop.ras("Red", (1, 0)))
    assert drawn.shape == (3, 3) and np.abs(drawn - wanted).max() < pixel
    assert np.abs(drawn[:, 2] - 24).max() < 1e-9


def test_wheel_and_modifiers_reach_slicers_own_interactor_style(desktop):
    slicer.util.setSliceViewerLayers(background=add_volume(), fit=True)
    node = desktop.views["Red"].node
    offset, view = node.GetSliceOffset(), node.GetFieldOfView()[0]
    desktop.wheel("Red", (100, 100), 2)
    assert node.GetSliceOffset() == pytest.approx(offset + 8.0)
    desktop.wheel("Red", (100, 100), 1, ctrl=True)
    assert node.GetFieldOfView()[0] != pytest.approx(view)


def test_the_screenshot_shows_panel_slices_and_3d(desktop, toy, tmp_path):
    volume = add_volume()
    slicer.util.setSliceViewerLayers(background=volume, fit=True)
    model = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode")
    model.CreateDefaultDisplayNodes()
    picture = desktop.screenshot(tmp_path / "desktop.png")
    assert picture.shape == (800, 1280, 3) and (tmp_path / "desktop.png").stat().st_size > 10_000
    for name in ("Red", "Green", "Yellow", "3D"):
        assert desktop.screenshot(widget=desktop.widget(name)).std() > 10, name
    left, right = picture[:, :400], picture[:, 430:]
    assert left.std() > 10 and right.std() > 10
    desktop.views["Red"].composite.SetBackgroundVolumeID(None)
    assert desktop.screenshot(widget=desktop.widget("Red")).std() < 5


def test_layouts_show_hide_and_add_views(desktop):
    layout = slicer.app.layoutManager()
    heard = []
    layout.connect("layoutChanged(int)", heard.append)
    layout.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutTwoOverTwoView)
    assert layout.sliceViewNames() == ("Red", "Green", "Yellow", "Slice4")
    layout.layout = slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView
    assert layout.sliceWidget("Red").visible and not layout.sliceWidget("Green").visible
    assert heard == [slicer.vtkMRMLLayoutNode.SlicerLayoutTwoOverTwoView, slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView]
    desktop.process_events()
    assert layout.sliceWidget("Red").sliceView().width > 700


def test_pythonqt_ways_work(desktop):
    import qt

    button, heard = qt.QPushButton("Go"), []
    button.connect("clicked(bool)", heard.append)
    button.click()
    button.disconnect("clicked(bool)", heard.append)
    button.click()
    assert heard == [False] and button.text == "Go" and button.className() == "QPushButton"
    with pytest.raises(ValueError, match="noSuch"):
        button.connect("noSuch()", heard.append)
    with pytest.raises(TypeError):
        button.text()
    table = qt.QTableWidget(2, 3)
    assert (table.rowCount, table.columnCount) == (2, 3)
    timer = qt.QTimer()
    timer.singleShot = True
    timer.interval = 1
    timer.connect("timeout()", lambda: heard.append("timer"))
    timer.start()
    qt.QTimer.singleShot(0, lambda: heard.append("once"))
    assert desktop.wait(lambda: {"timer", "once"} <= set(heard))


def test_a_process_reports_its_end_as_numbers(desktop):
    import qt

    process, ends = qt.QProcess(), []
    process.connect("finished(int,QProcess::ExitStatus)", lambda code, status: ends.append((code, int(status))))
    process.start("/bin/sh", ["-c", "echo out; exit 3"])
    assert desktop.wait(lambda: ends, 5)
    assert ends == [(3, qt.QProcess.NormalExit)] and process.readAllStandardOutput().data() == b"out\n"


def test_a_collapsed_section_hides_what_it_holds_and_shows_it_again(desktop, toy):
    toy.ui.nameEdit.hide()
    toy.ui.inputsSection.collapsed = True
    assert not toy.ui.countBox.visible
    toy.ui.inputsSection.collapsed = False
    assert toy.ui.countBox.visible and not toy.ui.nameEdit.visible


def test_what_ended_hears_nothing_of_the_scene_that_follows(desktop, toy, tmp_path):
    scene = slicer.mrmlScene
    desktop.close()
    log = list(toy.log)
    gc.collect()
    scene.Clear(0)
    assert toy.log == log


def test_a_reference_resolved_late_by_an_import_is_missed_until_the_node_is_modified(desktop, toy, tmp_path):
    """As in Slicer: the module's node precedes the volume in the file, and says nothing when the reference is resolved."""
    late = type(toy.parameters)(toy.parameters.parameterNode)
    late.volume = add_volume()
    slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(0)
    seen = []
    slicer.mrmlScene.AddObserver(slicer.vtkMRMLScene.EndImportEvent, lambda *_: seen.append(late.volume), 10.0)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    assert seen == [None] and late.volume.GetName() == "CT"  # the module's own observer of the import came after


def test_the_end_is_told_once(desktop, toy):
    desktop.close()
    desktop.close()
    assert toy.log == ["enter", "quit", "cleanup"]


def test_the_mouse_turns_the_3d_view(desktop):
    camera = desktop.views["3D"].camera_node
    before = camera.GetPosition()
    desktop.drag("3D", [(100, 100), (120, 110), (160, 120)])
    assert np.linalg.norm(np.subtract(camera.GetPosition(), before)) > 10


@pytest.mark.parametrize(
    ("kind", "ending", "load"),
    [
        ("vtkMRMLScalarVolumeNode", ".nrrd", "loadVolume"),
        ("vtkMRMLSegmentationNode", ".seg.nrrd", "loadSegmentation"),
        ("vtkMRMLMarkupsCurveNode", ".mrk.json", "loadMarkups"),
        ("vtkMRMLTextNode", ".txt", "loadText"),
        ("vtkMRMLTableNode", ".tsv", "loadTable"),
    ],
)
def test_nodes_are_saved_exported_and_loaded(slicer_app, tmp_path, kind, ending, load):
    volume = add_volume("one")
    node = volume if kind == volume.GetClassName() else slicer.mrmlScene.AddNewNodeByClass(kind, "one")
    if kind == "vtkMRMLSegmentationNode":
        node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
        mask = (slicer.util.arrayFromVolume(volume) > 0).astype(np.uint8)
        slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, node.GetSegmentation().AddEmptySegment("a"), volume)
    assert slicer.util.saveNode(node, str(tmp_path / f"saved{ending}"))
    assert slicer.util.exportNode(node, str(tmp_path / f"exported{ending}"))
    assert node.GetStorageNode().GetFileName().endswith(f"saved{ending}")
    for name in ("saved", "exported"):
        loaded = getattr(slicer.util, load)(str(tmp_path / f"{name}{ending}"))
        assert loaded.IsA(kind) and loaded is not node, name
