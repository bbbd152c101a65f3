"""The whole module with the real backend and the shipped weights, on Slicer's own scene and views (Qt by stand-ins)."""

from __future__ import annotations

import os
import signal
import time

import numpy as np
import pytest
import slicer

from module_driver import ModuleDriver, nodes
from sketch2ct.geometry import Plane
from sketch2ct.imaging import read_ct, read_image

CT, MASK, CURVE = "vtkMRMLScalarVolumeNode", "vtkMRMLSegmentationNode", "vtkMRMLMarkupsCurveNode"
STAGES = ("load", "mask", "volume", "write")


@pytest.fixture
def module(desktop, tmp_path):
    driver = ModuleDriver(desktop, tmp_path / "results")
    yield driver
    pids = [driver.generation.backend.pid] if driver.panel else []
    desktop.close()
    for pid in filter(None, pids):
        assert desktop_wait(lambda pid=pid: not alive(pid), 10), "the backend outlives the application"


def desktop_wait(condition, seconds):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def oval(plane: Plane, centre, across=22.0, up=16.0, count=60):
    angle = np.linspace(0, 2 * np.pi, count)
    uv = np.stack([across * np.cos(angle), up * np.sin(angle)], axis=1)
    return plane.to_ras(uv + plane.to_plane(np.asarray(centre, dtype=float))[:2])


def tilted():
    """A plane 25 degrees out of the axial one."""
    angle = np.radians(25)
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    matrix = np.eye(4)
    matrix[:3, :3] = turn @ Plane.named("axial", (0, 0, 0)).matrix[:3, :3]
    return Plane(matrix)


@pytest.mark.parametrize(
    ("view", "plane", "structure"),
    [
        ("Red", Plane.named("axial", (0, 0, 10)), "brainstem"),
        ("Green", Plane.named("coronal", (0, 5, 0)), "larynx"),
        ("Red", tilted(), "parotid_gland_left"),
    ],
    ids=["axial", "coronal", "oblique"],
)
def test_a_sketch_on_any_plane_becomes_a_mask_and_a_ct(module, view, plane, structure):
    module.choose(module.ui.structureSelector, structure)
    module.show(view, plane.matrix)
    centre = plane.matrix[:3, 3]
    drawn = oval(plane, centre)
    module.draw(view, drawn)
    module.describe("a smooth one")
    module.generate()
    assert module.desktop.dialogs == [] and module.ui.statusLabel.text == "Done."
    (mask,), (ct,) = nodes(MASK), nodes(CT)
    segment = mask.GetSegmentation().GetSegment(structure)
    assert segment is not None
    voxels = slicer.util.arrayFromSegmentBinaryLabelmap(mask, structure, ct)
    matrix = slicer.util.arrayFromVTKMatrix(ijk_to_ras(ct))
    middle = matrix[:3, :3] @ np.argwhere(voxels).mean(axis=0)[::-1] + matrix[:3, 3]
    assert abs(plane.to_plane(middle)[2]) < 40 and np.linalg.norm(plane.to_plane(middle)[:2] - plane.to_plane(centre)[:2]) < 15
    sketch = module.run.samples[0].manifest["quality"]["sketches"][0]
    assert sketch["plane"] == plane.orientation and sketch["dice"] > 0.7
    shown = slicer.util.arrayFromVTKMatrix(module.desktop.views[view].node.GetSliceToRAS())
    assert abs((shown[:3, 3] - centre) @ plane.normal) < 0.01 and abs(shown[:3, 2] @ plane.normal) > 0.9999
    assert all(text in mask.GetName() + ct.GetName() for text in ("SYNTHETIC", "CT", "segmentation"))
    assert ct.GetAttribute("Sketch2CT.bundle") == "headneck" and mask.GetAttribute("Sketch2CT.seed") == "0"


def ijk_to_ras(volume):
    import vtk

    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return matrix


def test_the_mask_can_be_corrected_before_its_ct_is_made(module):
    module.draw_mandible()
    module.desktop.click(module.ui.maskFirstCheck)
    assert module.ui.generateButton.text == "Generate mask"
    module.generate()
    (mask,) = nodes(MASK)
    assert nodes(CT) == [] and module.ui.startSelector.currentNode() is mask
    assert module.ui.generateButton.text == "Generate CT from the mask"
    module.desktop.click(module.ui.editButton)
    assert module.desktop.selected[-1] == "SegmentEditor"
    voxels = slicer.util.arrayFromSegmentInternalBinaryLabelmap(mask, "mandible")
    before = int((voxels > 0).sum())
    hole = np.argwhere(voxels)[: before // 4]
    voxels[tuple(hole.T)] = 0
    mask.GetSegmentation().GetSegment("mandible").Modified()
    slicer.util.selectModule("Sketch2CTModule")
    module.generate()
    (ct,) = nodes(CT)
    assert nodes(MASK) == [mask] and module.run.samples[0].segmentation is mask
    kept = slicer.util.arrayFromSegmentBinaryLabelmap(mask, "mandible", ct)
    assert kept.sum() == before - len(hole)
    labels, _ = read_image(module.run.samples[0].folder / "labels.nii.gz")
    assert (labels > 0).sum() == kept.sum() and np.array_equal(np.argwhere(labels.T > 0), np.argwhere(kept))
    file = read_ct(module.run.samples[0].folder / "ct.nii.gz").array
    assert np.array_equal(slicer.util.arrayFromVolume(ct), file.T)
    # who draws again wants a new mask
    module.draw("Red", oval(Plane.named("axial", (0, 40, 31.5)), (0, 40, 31.5), 6, 6))
    assert module.parameters.startMask is None


def test_a_saved_scene_goes_on_where_it_was(module, tmp_path):
    module.draw_mandible()
    module.ui.samplesSpin.value = 2
    module.ui.seedSpin.value = 11
    module.choose(module.ui.qualitySelector, "draft")
    module.generate()
    module.desktop.click(module.ui.nextButton)
    assert module.ui.sampleLabel.text == "2 of 2"
    sketch = module.panel.book.strokes()[0].points
    module.parameters.startMask = module.run.samples[1].segmentation
    slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(0)
    assert module.panel.book.strokes() == () and module.run is None and module.ui.descriptionEdit.plainText == ""
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    assert module.ui.descriptionEdit.plainText == "a broad mandible, about 62 mL"
    assert (module.ui.seedSpin.value, module.ui.samplesSpin.value, module.parameters.quality) == (11, 2, "draft")
    assert np.allclose(module.panel.book.strokes()[0].points, sketch, atol=1e-6)
    assert module.ui.sampleLabel.text == "2 of 2" and len(module.run.samples) == 2
    assert module.ui.startSelector.currentNode() is module.run.samples[1].segmentation
    module.ui.startSelector.setCurrentNode(None)
    first = read_ct(module.run.samples[0].folder / "ct.nii.gz").array
    module.generate()
    assert np.array_equal(read_ct(module.run.samples[0].folder / "ct.nii.gz").array, first)  # the same request, the same bytes
    assert len(nodes(CT)) == 4


def test_samples_are_switched_by_a_key(module):
    module.draw_mandible()
    module.ui.samplesSpin.value = 2
    module.choose(module.ui.qualitySelector, "draft")
    module.generate()
    first, second = (sample.volume.GetID() for sample in module.run.samples)
    views = [view.composite for view in module.desktop.views.values() if hasattr(view, "composite")]
    assert {composite.GetBackgroundVolumeID() for composite in views} == {first}
    module.desktop.key("Red", ".")
    assert {composite.GetBackgroundVolumeID() for composite in views} == {second}
    module.desktop.key("Red", ",")
    assert {composite.GetBackgroundVolumeID() for composite in views} == {first}
    slicer.util.selectModule("SegmentEditor")
    module.desktop.key("Red", ".")
    assert {composite.GetBackgroundVolumeID() for composite in views} == {first}  # the keys are the module's own


@pytest.mark.parametrize("stage", ["start", *STAGES[:3]])
def test_a_run_can_be_cancelled_in_every_stage(module, stage):
    module.draw_mandible()
    heard = module.stages()
    module.generate(until=lambda: stage == "start" or stage in heard)
    assert module.ui.generateButton.text == "Cancel"
    before = time.monotonic()
    module.desktop.click(module.ui.generateButton)
    module.wait(lambda: not module.generation.busy)
    assert time.monotonic() - before < 3
    assert module.ui.statusLabel.text.startswith("Cancelled") and module.desktop.dialogs == []
    assert nodes(CT) == nodes(MASK) == [] and (not module.results.exists() or list(module.results.iterdir()) == [])
    module.choose(module.ui.qualitySelector, "draft")
    module.generate()
    assert len(nodes(CT)) == 1


@pytest.mark.parametrize("stage", STAGES[:3])
def test_a_killed_backend_is_told_and_the_next_run_works(module, stage):
    module.draw_mandible()
    heard = module.stages()
    module.generate(until=lambda: stage in heard)
    os.kill(module.generation.backend.pid, signal.SIGKILL)
    module.wait(lambda: not module.generation.busy)
    (dialog,) = module.desktop.dialogs
    assert "memory" in dialog.text and "smaller frame" in dialog.text and nodes(CT) == nodes(MASK) == []
    module.choose(module.ui.qualitySelector, "draft")
    module.generate()
    assert len(nodes(CT)) == 1 and not [path for path in module.results.iterdir() if path.name.startswith(".")]


def test_two_runs_back_to_back_share_one_backend(module):
    module.draw_mandible()
    module.choose(module.ui.qualitySelector, "draft")
    module.generate()
    pid = module.generation.backend.pid
    module.desktop.click(module.ui.diceButton)
    module.generate()
    assert module.generation.backend.pid == pid and len(nodes(CT)) == len(nodes(MASK)) == 2
    assert len(list(module.results.iterdir())) == 2


def test_closing_the_scene_ends_the_run_and_leaves_the_new_scene_empty(module):
    module.draw_mandible()
    heard = module.stages()
    module.generate(until=lambda: "mask" in heard)
    slicer.mrmlScene.Clear(0)
    module.wait(lambda: not module.generation.busy)
    module.desktop.wait(lambda: False, 0.5)
    assert nodes(CT) == nodes(MASK) == [] and module.desktop.dialogs == []
    module.draw_mandible()
    module.choose(module.ui.qualitySelector, "draft")
    module.generate()
    assert len(nodes(CT)) == 1


def test_reloading_the_module_ends_the_run_and_keeps_the_sketch(module):
    module.draw_mandible()
    heard = module.stages()
    module.generate(until=lambda: "mask" in heard)
    pid, old = module.generation.backend.pid, module.widget
    slicer.util.reloadScriptedModule("Sketch2CTModule")
    module.widget = slicer.util.getModuleWidget("Sketch2CTModule")
    assert module.widget is not old
    assert desktop_wait(lambda: not alive(pid), 10)
    assert len(module.panel.book.strokes()) == 1 and nodes(CT) == []
    module.ui.resultsPath.setCurrentPath(str(module.results))
    module.choose(module.ui.qualitySelector, "draft")
    module.generate()
    assert len(nodes(CT)) == 1 and module.desktop.dialogs == []


def test_a_missing_bundle_is_told_with_what_to_do(module):
    module.draw_mandible()
    module.parameters.bundle = "abdomen"
    module.generate()
    (dialog,) = module.desktop.dialogs
    assert "no bundle 'abdomen'" in dialog.text and "Installed: headneck" in dialog.text
    module.parameters.bundle = "headneck"
    module.choose(module.ui.qualitySelector, "draft")
    module.generate()
    assert len(nodes(CT)) == 1


def test_words_alone_on_the_empty_canvas(module):
    module.desktop.click(module.ui.canvasButton)
    assert module.parameters.frameVolume is module.panel.draw._canvas.node()
    module.describe("a small larynx of 20 mL")
    module.choose(module.ui.qualitySelector, "draft")
    module.generate()
    (ct,) = nodes(CT)
    grids = [slicer.util.arrayFromVTKMatrix(ijk_to_ras(volume)) for volume in (ct, module.parameters.frameVolume)]
    assert np.allclose(*grids)
    assert nodes(MASK)[0].GetSegmentation().GetSegment("larynx") is not None
    module.desktop.click(module.ui.canvasButton)
    assert module.panel.draw._canvas.node() is None and module.parameters.frameVolume is None and len(nodes(CT)) == 1


def test_an_existing_segment_is_described(module):
    module.draw_mandible()
    module.choose(module.ui.qualitySelector, "draft")
    module.generate()
    module.describe("")
    module.desktop.click(module.ui.fillButton)
    module.ui.fillSegmentationSelector.setCurrentNode(nodes(MASK)[0])
    module.desktop.click(module.ui.fillApplyButton)
    module.wait(lambda: module.ui.descriptionEdit.plainText != "")
    text = module.ui.descriptionEdit.plainText
    assert "mandible" in text.lower() and "mL" in text and "Understood" in module.ui.wordsLabel.text


def test_the_self_test_for_the_application_passes_here(module):
    slicer.util.selectModule("Sketch2CTModule")
    test = type(slicer.modules.sketch2ctmodule.widgetRepresentation().self()).__module__
    assert test == "Sketch2CTModule"
    import Sketch2CTModule

    Sketch2CTModule.Sketch2CTModuleTest().runTest()
    assert module.desktop.dialogs == [] and module.ui.resultsPath.currentPath == str(module.results)
