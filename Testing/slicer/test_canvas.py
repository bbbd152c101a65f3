"""The empty canvas: the bundle's frame in every slice view, with the average anatomy as outlines."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import slicer

from headless_slicer.views import open_layout
from result_folders import turned_grid, two_blocks, write_result
from sketch2ct.anatomy import vocabulary
from sketch2ct.errors import BundleCorrupt
from sketch2ct.framing import bundle_frame
from sketch2ct.geometry import Grid
from sketch2ct.request import GenerationRequest
from sketch2ct.resources import resources_dir
from sketch2ct.results import write_image
from Sketch2CTModuleLib.BundleFacts import BundleFacts
from Sketch2CTModuleLib.Canvas import Canvas
from Sketch2CTModuleLib.ResultLoader import ResultLoader
from Sketch2CTModuleLib.Run import Run

FRAME = {"shape": [40, 32, 24], "spacing": [4, 4, 5]}
JAW = (slice(12, 28), slice(20, 28), slice(6, 12))


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle's folder with a toy guide: a jaw in a body."""
    folder = tmp_path / "toy"
    (folder / "configs").mkdir(parents=True)
    (folder / "configs" / "metadata.json").write_text(json.dumps({"frame": FRAME}))
    array = np.zeros(FRAME["shape"], np.uint8)
    array[4:36, 4:30, 2:22] = 2
    array[JAW] = 1
    write_image(folder / "guide.nii.gz", array, Grid.centred((0, 0, 0), FRAME["spacing"], array.shape))
    (folder / "guide.json").write_text('{"1": "mandible", "2": "body"}')
    return folder


def test_the_canvas_is_air_on_the_frame_that_the_backend_uses(slicer_app, bundle):
    views = open_layout(slicer_app.scene, slicer_app.app_logic)
    volume = Canvas().show(bundle)
    frame = bundle_frame(GenerationRequest(description="a mandible"), {"frame": FRAME})
    assert (slicer.util.arrayFromVolume(volume) == -1000).all()
    assert slicer.util.arrayFromVolume(volume).shape == frame.shape[::-1]
    corners = np.zeros(6)
    volume.GetRASBounds(corners)
    assert np.allclose(corners.reshape(3, 2), [[-80, 80], [-64, 64], [-60, 60]])
    assert all(view.composite.GetBackgroundVolumeID() == volume.GetID() for view in views.values())
    assert volume.GetName() == "Sketch2CT canvas"
    assert volume.GetAttribute("Sketch2CT.role") == "canvas"


def test_the_guide_is_thin_outlines_where_the_anatomy_is_and_nothing_else(slicer_app, bundle):
    views = open_layout(slicer_app.scene, slicer_app.app_logic)
    canvas = Canvas()
    canvas.show(bundle)
    display = canvas.guide().GetDisplayNode()
    assert not display.GetVisibility2DFill()
    assert not display.GetVisibility3D()
    frame = BundleFacts.read(bundle).frame
    jaw = [(part.start + part.stop - 1) / 2 for part in JAW]
    assert np.allclose(canvas.centreOf("mandible"), frame.to_ras(jaw), atol=0.5)
    red = views["Red"]
    assert red.plane()[2, 3] == pytest.approx(frame.to_ras(jaw)[2], abs=0.5)
    image = red.image()
    assert 0.002 < (image.max(axis=-1) > 40).mean() < 0.06
    border = frame.to_ras([JAW[0].start - 0.5, *jaw[1:]])
    for point, lit in ((border, True), (frame.to_ras(jaw), False), (frame.to_ras([7, 8, 9]), False)):
        row, column = red.to_pixel(point)
        assert (image[row - 3 : row + 4, column - 3 : column + 4].max() > 40) == lit
    row, column = red.to_pixel(border)
    near = image[row - 3 : row + 4, column - 3 : column + 4].reshape(-1, 3).astype(float)
    brightest, colour = near[near.sum(axis=1).argmax()], np.asarray(vocabulary()["mandible"].color, dtype=float)
    assert brightest @ colour / np.linalg.norm(brightest) / np.linalg.norm(colour) > 0.99
    canvas.setGuideVisible(False)
    assert (red.image().max(axis=-1) < 40).all()


def test_neither_canvas_nor_guide_is_offered_as_a_result_or_to_segment_editor(slicer_app, bundle, tmp_path):
    canvas = Canvas()
    canvas.show(bundle)
    assert canvas.guide().GetHideFromEditors()
    assert Run.fromScene(slicer_app.scene) == []
    run = ResultLoader(slicer_app.scene).load([write_result(tmp_path / "r", turned_grid(), two_blocks(turned_grid()))])
    assert [found.id for found in Run.fromScene(slicer_app.scene)] == [run.id]


def test_showing_it_twice_keeps_one_and_another_bundle_replaces_it(slicer_app, bundle):
    canvas = Canvas()
    assert canvas.show(bundle) is canvas.show(bundle)
    other = bundle.rename(bundle.with_name("other"))
    assert Canvas().show(other).GetAttribute("Sketch2CT.bundle") == "other"
    assert slicer_app.scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 1
    assert slicer_app.scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 1


def test_removing_it_gives_the_views_back_what_they_showed(slicer_app, bundle):
    views = open_layout(slicer_app.scene, slicer_app.app_logic)
    patient = slicer.util.addVolumeFromArray(np.zeros((3, 3, 3)))
    views["Red"].composite.SetBackgroundVolumeID(patient.GetID())
    before = [slicer_app.scene.GetNthNode(n).GetID() for n in range(slicer_app.scene.GetNumberOfNodes())]
    canvas = Canvas()
    canvas.show(bundle)
    views["Yellow"].composite.SetBackgroundVolumeID(patient.GetID())  # the user's own choice meanwhile stays
    canvas.remove()
    shown = {name: view.composite.GetBackgroundVolumeID() for name, view in views.items()}
    assert shown == {"Red": patient.GetID(), "Green": None, "Yellow": patient.GetID()}
    assert [slicer_app.scene.GetNthNode(n).GetID() for n in range(slicer_app.scene.GetNumberOfNodes())] == before
    canvas.remove()
    assert canvas.node() is None


def test_it_comes_back_with_a_saved_scene(slicer_app, bundle, tmp_path):
    kept = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer_app.scene)
    Canvas().show(bundle)
    assert slicer_app.scene.WriteToMRB(str(tmp_path / "scene.mrb"), None)
    slicer_app.scene.Clear(0)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    canvas = Canvas()
    assert canvas.node().GetAttribute("Sketch2CT.role") == "canvas"
    display = canvas.guide().GetDisplayNode()
    assert canvas.guide().GetHideFromEditors()
    assert (display.GetVisibility2DFill(), display.GetSliceIntersectionThickness()) == (False, 2)
    assert kept


def test_a_bundle_without_a_guide_gives_an_empty_canvas(slicer_app, bundle):
    (bundle / "guide.nii.gz").unlink()
    canvas = Canvas()
    canvas.show(bundle)
    assert canvas.guide() is None
    assert canvas.centreOf("mandible") is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "configs" / "metadata.json").write_text("{}"),
        lambda folder: (folder / "configs" / "metadata.json").unlink(),
        lambda folder: (folder / "guide.json").unlink(),
        lambda folder: (folder / "guide.nii.gz").write_bytes(b"\x1f\x8b"),
        lambda folder: (folder / "configs" / "metadata.json").write_text(json.dumps({"frame": FRAME | {"shape": [48, 32, 24]}})),
    ],
    ids=["no frame", "no metadata", "no names", "damaged guide", "guide on another frame"],
)
def test_a_damaged_bundle_is_told_and_changes_nothing(slicer_app, bundle, damage):
    before = slicer_app.scene.GetNumberOfNodes()
    damage(bundle)
    with pytest.raises(BundleCorrupt, match="toy"):
        Canvas().show(bundle)
    assert slicer_app.scene.GetNumberOfNodes() == before


def test_the_window_is_the_bundles_own_where_it_has_one(bundle):
    assert BundleFacts.read(bundle).window == (350, 40)
    (bundle / "configs" / "metadata.json").write_text(json.dumps({"frame": FRAME, "window": [1400, -500]}))
    assert BundleFacts.read(bundle).window == (1400, -500)


def test_the_shipped_bundle_has_a_guide_with_every_structure_it_makes(slicer_app):
    folder = resources_dir() / "Bundles" / "headneck"
    canvas = Canvas()
    canvas.show(folder)
    made = json.loads((folder / "configs" / "metadata.json").read_text())["structures"]
    assert all(canvas.centreOf(name) is not None for name in made)
    left, right = canvas.centreOf("parotid_gland_left"), canvas.centreOf("parotid_gland_right")
    assert left[0] < -20 and right[0] > 20  # R grows to the patient's right
