"""A result folder, written as a scene by the backend, is what Slicer's own classes read and draw."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import slicer
import slicer.util
import vtk

from headless_slicer.views import LAYOUT, open_layout, save_row
from sketch2ct.anatomy import vocabulary
from sketch2ct.errors import BadRequest
from sketch2ct.export.scene import write_scene
from sketch2ct.geometry import Grid, Plane
from sketch2ct.imaging import write_nifti
from sketch2ct.request import GenerationRequest, Sketch

NAMES = {1: "mandible", 2: "parotid_gland_left", 5: "larynx"}  # the larynx has no voxel
LAMP = (slice(28, 33), slice(8, 12), slice(12, 16))  # a bright block, far from the middle and unlabelled


@dataclass
class Result:
    folder: Path
    grid: Grid
    labels: np.ndarray
    ct: np.ndarray
    request: GenerationRequest


def turned_grid(left_handed: bool) -> Grid:
    """Anisotropic, turned about all axes, far from the origin; with or without a reversed k axis."""
    angles = np.radians([7, -4, 11])
    turn = np.eye(3)
    for axis, angle in enumerate(angles):
        a, b = [n for n in range(3) if n != axis]
        step = np.eye(3)
        step[[a, b, a, b], [a, b, b, a]] = np.cos(angle), np.cos(angle), -np.sin(angle), np.sin(angle)
        turn = turn @ step
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-2.1, -1.7, -3.0 if left_handed else 3.0])
    affine[:3, 3] = [-290.0, -230.5, 201.25]
    return Grid((40, 36, 24), affine)


def ring(plane: Plane, radius: float, points: int) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return plane.to_ras(np.stack([radius * np.cos(angle), 0.6 * radius * np.sin(angle)], axis=1))


@pytest.fixture(params=[False, True], ids=["right-handed", "left-handed"])
def result(request: pytest.FixtureRequest, tmp_path: Path) -> Result:
    grid = turned_grid(request.param)
    labels = np.zeros(grid.shape, dtype=np.uint8)
    labels[8:20, 5:14, 6:11] = 1
    labels[22:30, 20:31, 12:20] = 2
    ct = np.random.default_rng(3).integers(-160, -120, grid.shape).astype(np.int16)
    ct[LAMP] = 700
    axial = Plane.named("axial", grid.to_ras([14, 9, 8]))
    tilt = np.eye(4)
    tilt[:3, :3] = Plane.named("coronal", [0, 0, 0]).matrix[:3, :3]
    tilt[1:3, 2], tilt[1:3, 1] = [np.cos(0.3), np.sin(0.3)], [-np.sin(0.3), np.cos(0.3)]
    tilt[:3, 3] = grid.to_ras([26, 25, 16])
    sketches = [
        Sketch("mandible", axial, [ring(axial, 9.0, 24), ring(axial, 4.0, 9)]),
        Sketch("parotid_gland_left", Plane(tilt), [ring(Plane(tilt), 6.0, 15)[:10]], closed=False, meaning="silhouette"),
    ]
    folder = tmp_path / "result"
    folder.mkdir()
    write_nifti(folder / "labels.nii.gz", labels, grid)
    write_nifti(folder / "ct.nii.gz", ct, grid)
    (folder / "labels.json").write_text(json.dumps(NAMES))
    (folder / "manifest.json").write_text(json.dumps({"versions": {"sketch2ct": "0.1.0"}, "synthetic": True}))
    made = GenerationRequest(sketches, description="a broad; thin: 90% of\n'one' <&> é", seed=41)
    made.write(folder / "request.json")
    return Result(folder, grid, labels, ct, made)


def load(result: Result) -> None:
    scene = write_scene(result.folder, result.folder.parent / "example.mrb")
    slicer.util.loadScene(str(scene))


def ijk_to_ras(volume) -> np.ndarray:
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def only(class_name: str):
    nodes = slicer.util.getNodesByClass(class_name)
    assert len(nodes) == 1
    return nodes[0]


def test_every_ct_voxel_keeps_its_value_and_place(slicer_app, result):
    load(result)
    volume = only("vtkMRMLScalarVolumeNode")
    array = slicer.util.arrayFromVolume(volume).transpose(2, 1, 0)
    index = result.grid.voxel_centres() @ np.linalg.inv(ijk_to_ras(volume))[:3, :3].T
    index += np.linalg.inv(ijk_to_ras(volume))[:3, 3]
    assert np.abs(index - np.round(index)).max() < 1e-3
    i, j, k = np.moveaxis(np.round(index).astype(int), -1, 0)
    assert np.array_equal(array[i, j, k], result.ct)
    assert array.shape == result.ct.shape
    assert np.allclose(volume.GetSpacing(), [2.1, 1.7, 3.0], atol=1e-3)


@pytest.mark.parametrize("result", [False], indirect=True)
def test_the_ct_geometry_is_the_grid(slicer_app, result):
    load(result)
    volume = only("vtkMRMLScalarVolumeNode")
    assert np.allclose(ijk_to_ras(volume), result.grid.affine, atol=1e-3)
    assert np.allclose(volume.GetOrigin(), result.grid.affine[:3, 3], atol=1e-3)


def test_the_ct_is_marked_synthetic_and_windowed_for_soft_tissue(slicer_app, result):
    load(result)
    volume = only("vtkMRMLScalarVolumeNode")
    assert volume.GetName() == "SYNTHETIC CT"
    assert volume.GetAttribute("Sketch2CT.synthetic") == "true"
    assert volume.GetAttribute("Sketch2CT.seed") == "41"
    assert volume.GetAttribute("Sketch2CT.bundle") == "headneck"
    assert volume.GetAttribute("Sketch2CT.version.sketch2ct") == "0.1.0"
    assert volume.GetAttribute("Sketch2CT.description") == "a broad; thin: 90% of 'one' <&> é"
    assert len(volume.GetAttribute("Sketch2CT.requestSHA256")) == 64
    display = volume.GetDisplayNode()
    assert (display.GetWindow(), display.GetLevel(), display.GetAutoWindowLevel()) == (400, 40, 0)


def test_segments_keep_their_voxels_names_colours_and_codes(slicer_app, result):
    load(result)
    node, volume = only("vtkMRMLSegmentationNode"), only("vtkMRMLScalarVolumeNode")
    assert node.GetName() == "SYNTHETIC segmentation"
    assert node.GetAttribute("Sketch2CT.synthetic") == "true"
    assert list(node.GetSegmentation().GetSegmentIDs()) == list(NAMES.values())
    index = result.grid.voxel_centres() @ np.linalg.inv(ijk_to_ras(volume))[:3, :3].T
    i, j, k = np.moveaxis(np.round(index + np.linalg.inv(ijk_to_ras(volume))[:3, 3]).astype(int), -1, 0)
    for value, name in NAMES.items():
        structure, segment = vocabulary()[name], node.GetSegmentation().GetSegment(name)
        assert segment.GetName() == structure.display
        assert np.allclose(segment.GetColor(), np.asarray(structure.color) / 255, atol=1e-6)
        mask = slicer.util.arrayFromSegmentBinaryLabelmap(node, name, volume).transpose(2, 1, 0)
        assert np.array_equal(mask[i, j, k] > 0, result.labels == value)


def test_segments_carry_snomed_codes_that_slicer_understands(slicer_app, result):
    load(result)
    segment = only("vtkMRMLSegmentationNode").GetSegmentation().GetSegment("parotid_gland_left")
    text = vtk.mutable("")
    assert segment.GetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), text)
    entry = slicer.vtkSlicerTerminologyEntry()
    logic = slicer.modules.terminologies.logic()
    assert logic.DeserializeTerminologyEntry(str(text), entry)
    assert entry.GetTypeObject().GetCodingSchemeDesignator() == "SCT"
    assert entry.GetTypeObject().GetCodeValue() == vocabulary()["parotid_gland_left"].snomed
    assert entry.GetTypeObject().GetCodeMeaning() == vocabulary()["parotid_gland_left"].snomed_meaning
    assert entry.GetTypeModifierObject().GetCodeMeaning() == "Left"
    assert entry.GetCategoryObject().GetCodeMeaning() == "Anatomical Structure"


def test_each_stroke_is_a_curve_through_its_points(slicer_app, result):
    load(result)
    expected = [
        ("Mandible sketch 1", "vtkMRMLMarkupsClosedCurveNode", result.request.sketches[0].strokes[0]),
        ("Mandible sketch 2", "vtkMRMLMarkupsClosedCurveNode", result.request.sketches[0].strokes[1]),
        ("Left parotid gland sketch", "vtkMRMLMarkupsCurveNode", result.request.sketches[1].strokes[0]),
    ]
    assert len(slicer.util.getNodesByClass("vtkMRMLMarkupsNode")) == len(expected)
    for name, class_name, stroke in expected:
        curve = slicer.util.getNode(name)
        assert curve.GetClassName() == class_name
        assert curve.GetCurveType() == slicer.vtkCurveGenerator.CURVE_TYPE_LINEAR_SPLINE
        assert np.allclose(slicer.util.arrayFromMarkupsControlPoints(curve), stroke, atol=1e-3)
    assert slicer.util.getNode("Left parotid gland sketch").GetAttribute("Sketch2CT.meaning") == "silhouette"


def test_everything_hangs_under_one_folder(slicer_app, result):
    load(result)
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer_app.scene)
    folder = hierarchy.GetItemByName("SYNTHETIC Sketch2CT result")
    nodes = [only("vtkMRMLScalarVolumeNode"), only("vtkMRMLSegmentationNode")]
    nodes += slicer.util.getNodesByClass("vtkMRMLMarkupsNode")
    for node in nodes:
        assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) == folder
    children = vtk.vtkIdList()
    hierarchy.GetItemChildren(hierarchy.GetItemByDataNode(nodes[1]), children)
    ids = [hierarchy.GetItemAttribute(children.GetId(n), "segmentID") for n in range(children.GetNumberOfIds())]
    assert ids == list(NAMES.values())


def test_slice_views_show_the_ct_at_the_sketch_with_sides_kept(slicer_app, result):
    views = open_layout(slicer_app.scene, slicer_app.app_logic)
    load(result)
    volume = only("vtkMRMLScalarVolumeNode")
    axial, tilted = result.request.sketches
    shown = {"Red": axial, "Green": tilted, "Yellow": axial}
    for name, view in views.items():
        assert view.composite.GetBackgroundVolumeID() == volume.GetID()
        matrix = slicer.util.arrayFromVTKMatrix(view.node.GetSliceToRAS())
        middle = (shown[name].points().min(axis=0) + shown[name].points().max(axis=0)) / 2
        assert abs((middle - matrix[:3, 3]) @ matrix[:3, 2]) < 1e-3
        preset = slicer.util.arrayFromVTKMatrix(view.node.GetSliceOrientationPreset(LAYOUT[name]))
        assert (np.diag(matrix[:3, :3].T @ preset[:3, :3]) > 0.9).all()
    green = slicer.util.arrayFromVTKMatrix(views["Green"].node.GetSliceToRAS())
    assert np.abs((tilted.points() - green[:3, 3]) @ green[:3, 2]).max() < 1e-3


def test_the_drawn_views_have_ct_segment_and_sketch_where_they_belong(slicer_app, result, tmp_path):
    views = open_layout(slicer_app.scene, slicer_app.app_logic)
    load(result)
    picture = save_row(list(views.values()), tmp_path / "views.png")
    assert (tmp_path / "views.png").stat().st_size > 1000
    panels = np.split(picture, 3, axis=1)
    assert all(panel.std() > 8 for panel in panels)

    red = views["Red"]
    lamp = result.grid.to_ras([(part.start + part.stop - 1) / 2 for part in LAMP])
    red.node.JumpSliceByOffsetting(*lamp)
    image = red.image()
    assert (image[red.to_pixel(lamp)] > 240).all()  # 700 HU is above the window
    assert (image == 255).all(axis=-1).mean() < 0.2

    sketch = result.request.sketches[0].points()[0]
    red.node.JumpSliceByOffsetting(*sketch)
    row, column = red.to_pixel(sketch)
    near = red.image()[row - 2 : row + 3, column - 2 : column + 3].reshape(-1, 3).astype(int)
    assert (near[:, 1:].min(axis=1) - near[:, 0]).max() > 80  # cyan, under the half transparent segment


def test_the_camera_faces_the_patient_with_all_structures_in_sight(slicer_app, result):
    load(result)
    found = result.grid.to_ras(np.argwhere(result.labels > 0))
    eye, focus = (np.asarray(getattr(only("vtkMRMLCameraNode"), f"Get{word}")()) for word in ("Position", "FocalPoint"))
    forward = (focus - eye) / np.linalg.norm(focus - eye)
    assert np.allclose(forward, [0, -1, 0])
    seen = (found - eye) / np.linalg.norm(found - eye, axis=1, keepdims=True)
    assert np.degrees(np.arccos(seen @ forward)).max() < 15


def test_the_same_result_gives_the_same_bytes(result, tmp_path):
    first = write_scene(result.folder, tmp_path / "a" / "scene.mrb").read_bytes()
    assert first == write_scene(result.folder, tmp_path / "b" / "scene.mrb").read_bytes()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["scene.mrb"]


def test_a_result_without_sketches_is_shown_at_its_structures(slicer_app, result):
    GenerationRequest(description="a mandible").write(result.folder / "request.json")
    views = open_layout(slicer_app.scene, slicer_app.app_logic)
    load(result)
    found = result.grid.to_ras(np.argwhere(result.labels > 0))
    offset = slicer.util.arrayFromVTKMatrix(views["Red"].node.GetSliceToRAS())[2, 3]
    assert offset == pytest.approx((found[:, 2].min() + found[:, 2].max()) / 2, abs=1e-3)


def test_an_incomplete_result_is_refused_and_leaves_no_file(result, tmp_path):
    (result.folder / "labels.json").unlink()
    with pytest.raises(BadRequest, match=r"labels\.json"):
        write_scene(result.folder, tmp_path / "scene.mrb")
    assert not (tmp_path / "scene.mrb").exists()
