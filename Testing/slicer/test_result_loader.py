"""Result folders become nodes that are exactly what the files say, or nothing."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from result_folders import NAMES, turned_grid, two_blocks, write_result
from sketch2ct.anatomy import vocabulary
from sketch2ct.describe import contrast
from sketch2ct.errors import BadRequest
from sketch2ct.export.nrrd import terminology_entry
from sketch2ct.geometry import Grid
from Sketch2CTModuleLib.ResultLoader import ResultLoader
from Sketch2CTModuleLib.Run import Run
from Sketch2CTModuleLib.SegmentationBuilder import SegmentationBuilder


@pytest.fixture(params=[False, True], ids=["right-handed", "left-handed"])
def grid(request: pytest.FixtureRequest) -> Grid:
    return turned_grid(request.param)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_result(tmp_path / "result", turned_grid(), two_blocks(turned_grid()))


def matrix_of(volume) -> np.ndarray:
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def node_ids(scene) -> list[str]:
    return [scene.GetNthNode(n).GetID() for n in range(scene.GetNumberOfNodes())]


def values_at(node_array: np.ndarray, affine: np.ndarray, ras: np.ndarray) -> np.ndarray:
    """Values of a node's (k, j, i) array at positions that must be voxel centres to a micrometre."""
    index = (ras - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T
    assert np.abs(index - np.round(index)).max() < 1e-6
    i, j, k = np.moveaxis(np.round(index).astype(int), -1, 0)
    return node_array[k, j, i]


def surface_volume(surface) -> float:
    """mm^3; negative for a surface that is inside out."""
    triangles = vtk.vtkTriangleFilter()
    triangles.SetInputData(surface)
    triangles.Update()
    points = vtk_to_numpy(triangles.GetOutput().GetPoints().GetData()).astype(float)
    a, b, c = (points[corner] for corner in vtk_to_numpy(triangles.GetOutput().GetPolys().GetConnectivityArray()).reshape(-1, 3).T)
    return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6)


def test_every_voxel_of_ct_and_mask_lies_where_the_file_says(slicer_app, grid, tmp_path):
    folder = write_result(tmp_path / "result", grid, two_blocks(grid))
    (sample,) = ResultLoader(slicer_app.scene).load([folder]).samples
    file = nib.load(folder / "ct.nii.gz")
    ras = Grid(file.shape, file.affine).voxel_centres()
    assert np.array_equal(values_at(slicer.util.arrayFromVolume(sample.volume), matrix_of(sample.volume), ras), np.asarray(file.dataobj))
    assert sample.volume.GetImageData().GetScalarType() == vtk.VTK_SHORT
    labels = np.asarray(nib.load(folder / "labels.nii.gz").dataobj)
    for value, name in NAMES.items():
        mask = slicer.util.arrayFromSegmentBinaryLabelmap(sample.segmentation, name, sample.volume)
        assert np.array_equal(values_at(mask, matrix_of(sample.volume), ras) > 0, labels == value), name


def test_the_nodes_are_on_the_grid_of_the_file(slicer_app, folder):
    (sample,) = ResultLoader(slicer_app.scene).load([folder]).samples
    affine = nib.load(folder / "ct.nii.gz").affine
    assert np.abs(matrix_of(sample.volume) - affine).max() < 1e-9
    image, matrix = sample.segmentation.GetBinaryLabelmapInternalRepresentation("mandible"), vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    assert np.abs(slicer.util.arrayFromVTKMatrix(matrix) - affine).max() < 1e-9
    reference = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
    assert sample.segmentation.GetNodeReference(reference) is sample.volume


def test_segments_are_named_ordered_coloured_and_coded_by_the_vocabulary(slicer_app, folder):
    (sample,) = ResultLoader(slicer_app.scene).load([folder]).samples
    segmentation = sample.segmentation.GetSegmentation()
    assert list(segmentation.GetSegmentIDs()) == [name for name in vocabulary() if name in NAMES.values()]
    assert segmentation.GetNumberOfLayers() == 1
    for name in NAMES.values():
        segment, structure, tag = segmentation.GetSegment(name), vocabulary()[name], vtk.mutable("")
        assert segment.GetName() == structure.display
        assert np.allclose(segment.GetColor(), np.asarray(structure.color) / 255, atol=1e-6)
        assert segment.GetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), tag)
        assert str(tag) == terminology_entry(structure)


def test_surfaces_are_the_right_way_out_and_as_large_as_their_voxels(slicer_app, grid, tmp_path):
    folder = write_result(tmp_path / "result", grid, two_blocks(grid))
    (sample,) = ResultLoader(slicer_app.scene).load([folder]).samples
    for value, name in {7: "mandible", 4: "parotid_gland_left"}.items():
        surface = sample.segmentation.GetClosedSurfaceInternalRepresentation(name)
        voxels = (two_blocks(grid) == value).sum() * grid.voxel_ml * 1000
        assert surface_volume(surface) == pytest.approx(voxels, rel=0.1)
        middle = grid.to_ras(np.argwhere(two_blocks(grid) == value)).mean(axis=0)
        assert np.allclose(np.reshape(surface.GetBounds(), (3, 2)).mean(axis=1), middle, atol=0.3)
    assert not sample.segmentation.GetClosedSurfaceInternalRepresentation("larynx").GetNumberOfPoints()


def test_a_mask_up_to_the_border_has_a_closed_surface(slicer_app, tmp_path):
    grid = turned_grid()
    folder = write_result(tmp_path / "result", grid, np.full(grid.shape, 7, np.uint8), sketches=[])
    (sample,) = ResultLoader(slicer_app.scene).load([folder]).samples
    edges = vtk.vtkFeatureEdges()
    edges.FeatureEdgesOff()
    edges.ManifoldEdgesOff()
    edges.SetInputData(sample.segmentation.GetClosedSurfaceInternalRepresentation("mandible"))
    edges.Update()
    assert edges.GetOutput().GetNumberOfCells() == 0


def test_the_ct_is_marked_synthetic_and_windowed(slicer_app, folder):
    (sample,) = ResultLoader(slicer_app.scene).load([folder], window=(1000, 300)).samples
    display = sample.volume.GetDisplayNode()
    assert (display.GetWindow(), display.GetLevel(), display.GetAutoWindowLevel()) == (1000, 300, 0)
    for node, name in ((sample.volume, "SYNTHETIC CT"), (sample.segmentation, "SYNTHETIC segmentation")):
        assert node.GetName() == name
        assert node.GetAttribute("Sketch2CT.synthetic") == "true"
        assert node.GetAttribute("Sketch2CT.notForClinicalUse") == "true"
        assert node.GetAttribute("Sketch2CT.seed") == "41"
        assert node.GetAttribute("Sketch2CT.bundleHash") == "ab" * 32
        assert node.GetAttribute("Sketch2CT.version.sketch2ct") == "0.1.0"
        assert node.GetAttribute("Sketch2CT.description") == "a broad; thin: 90% of\n'one' <&> é"
    (again,) = ResultLoader(slicer_app.scene).load([folder]).samples
    assert (again.volume.GetDisplayNode().GetWindow(), again.volume.GetDisplayNode().GetLevel()) == (350, 40)


def test_a_display_that_the_description_asks_for_goes_before_the_bundles(slicer_app, tmp_path):
    grid = turned_grid()
    folder = write_result(tmp_path / "bone", grid, two_blocks(grid), description="a broad mandible, shown in a bone window")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["quality"]["display"] = contrast.window("a broad mandible, shown in a bone window").to_dict()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (sample,) = ResultLoader(slicer_app.scene).load([folder], window=(1000, 300)).samples
    display = sample.volume.GetDisplayNode()
    assert (display.GetWindow(), display.GetLevel()) == (2000, 500)
    assert slicer.util.arrayFromVolume(sample.volume).max() == 700  # HU are not touched
    manifest["quality"]["display"] = {"window": "bone"}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BadRequest, match="no usable display window"):
        ResultLoader(slicer_app.scene).load([folder])


def test_a_run_is_one_folder_with_the_full_record(slicer_app, folder):
    second = write_result(folder.parent / "second", turned_grid(), two_blocks(turned_grid()), seed=99)
    run = ResultLoader(slicer_app.scene).load([folder, second])
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer_app.scene)
    assert run.name == hierarchy.GetItemName(run.folderItem) == "SYNTHETIC Sketch2CT mandible seed 41"
    nodes = [node for sample in run.samples for node in (sample.volume, sample.segmentation)] + [run.record]
    assert all(hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) == run.folderItem for node in nodes)
    assert [node.GetName() for node in nodes[2:4]] == ["SYNTHETIC CT 2", "SYNTHETIC segmentation 2"]
    assert [sample.segmentation.GetDisplayNode().GetVisibility() for sample in run.samples] == [1, 0]
    stated = json.loads(run.record.GetText())["samples"]
    assert stated[1]["request"] == json.loads((second / "request.json").read_text())
    assert stated[1]["manifest"] == json.loads((second / "manifest.json").read_text())


def test_a_mask_alone_keeps_its_geometry_without_a_ct(slicer_app, tmp_path):
    folder = write_result(tmp_path / "result", turned_grid(), two_blocks(turned_grid()), ct=False)
    (sample,) = ResultLoader(slicer_app.scene).load([folder]).samples
    assert sample.volume is None
    geometry, matrix = slicer.vtkOrientedImageData(), vtk.vtkMatrix4x4()
    stated = sample.segmentation.GetSegmentation().GetConversionParameter("Reference image geometry")
    assert slicer.vtkSegmentationConverter.DeserializeImageGeometry(stated, geometry, False)
    geometry.GetImageToWorldMatrix(matrix)
    assert geometry.GetDimensions() == turned_grid().shape
    assert np.abs(slicer.util.arrayFromVTKMatrix(matrix) - nib.load(folder / "labels.nii.gz").affine).max() < 1e-9


def test_a_given_mask_is_joined_and_not_loaded_again(slicer_app, tmp_path, folder):
    alone = write_result(tmp_path / "mask", turned_grid(), two_blocks(turned_grid()), ct=False)
    given = ResultLoader(slicer_app.scene).load([alone]).samples[0].segmentation
    run = ResultLoader(slicer_app.scene).load([folder, folder], segmentation=given)
    assert [sample.segmentation for sample in run.samples] == [given, given]
    assert slicer_app.scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 1
    role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
    assert given.GetNodeReference(role) is run.samples[0].volume
    assert given.GetDisplayNode().GetVisibility()


def test_a_users_own_mask_keeps_its_reference_volume_its_name_and_its_place(slicer_app, folder):
    own = slicer_app.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Mine")
    patient = slicer.util.addVolumeFromArray(np.zeros((3, 3, 3)), name="Patient")
    own.SetReferenceImageGeometryParameterFromVolumeNode(patient)
    run = ResultLoader(slicer_app.scene).load([folder], segmentation=own)
    assert own.GetNodeReference(slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()) is patient
    assert own.GetName() == "Mine"
    assert not list(own.GetAttributeNames())
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer_app.scene)
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(own)) != run.folderItem


def told(run: Run) -> tuple:
    return run.id, run.name, [(s.number, s.manifest, s.request, s.folder) for s in run.samples]


def test_runs_are_found_again_after_the_scene_was_saved_and_opened(slicer_app, tmp_path, folder):
    loader = ResultLoader(slicer_app.scene)
    kept = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer_app.scene)  # else the stand-in for the desktop cannot merge it
    second = write_result(tmp_path / "second", turned_grid(), two_blocks(turned_grid()), seed=99)
    first = loader.load([folder, second])
    given = loader.load([write_result(tmp_path / "mask", turned_grid(), two_blocks(turned_grid()), ct=False)])
    loader.load([folder], segmentation=given.samples[0].segmentation)
    expected = [told(run) for run in Run.fromScene(slicer_app.scene)]
    matrix, voxels = matrix_of(first.samples[1].volume), slicer.util.arrayFromVolume(first.samples[1].volume).copy()
    assert len(expected) == 3

    assert slicer_app.scene.WriteToMRB(str(tmp_path / "scene.mrb"), None)
    slicer_app.scene.Clear(0)
    assert Run.fromScene(slicer_app.scene) == []
    shutil.rmtree(second)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))

    runs = sorted(Run.fromScene(slicer_app.scene), key=lambda run: [item[0] for item in expected].index(run.id))
    expected[0][2][1] = (*expected[0][2][1][:3], None)  # its folder is gone
    assert [told(run) for run in runs] == expected
    assert kept
    assert np.abs(matrix_of(runs[0].samples[1].volume) - matrix).max() < 1e-6
    assert np.array_equal(slicer.util.arrayFromVolume(runs[0].samples[1].volume), voxels)
    assert runs[1].samples[0].volume is None
    assert runs[2].samples[0].segmentation is runs[1].samples[0].segmentation
    assert runs[0].samples[0].segmentation.GetAttribute("Sketch2CT.description") == "a broad; thin: 90% of\n'one' <&> é"


def test_a_sample_that_the_user_deleted_is_no_longer_part_of_the_run(slicer_app, folder):
    run = ResultLoader(slicer_app.scene).load([folder, folder])
    slicer_app.scene.RemoveNode(run.samples[0].volume)
    slicer_app.scene.RemoveNode(run.samples[0].segmentation)
    slicer_app.scene.RemoveNode(run.samples[1].segmentation)
    slicer_app.scene.RemoveNode(run.record)
    (found,) = Run.fromScene(slicer_app.scene)
    assert [(s.number, s.segmentation, s.volume is run.samples[1].volume) for s in found.samples] == [(2, None, True)]
    assert found.samples[0].manifest == {}


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def break_affine(path: Path) -> None:
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[280:296] = bytes(16)  # the sform's first row
    path.write_bytes(gzip.compress(bytes(content)))


def shorten(path: Path) -> None:
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-100]))


def move(path: Path) -> None:
    image = nib.load(path)
    affine = image.affine.copy()
    affine[0, 3] += 2
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj), affine), path)


def not_synthetic(path: Path) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | {"synthetic": False}))


def rename(path: Path) -> None:
    path.write_text('{"1": "mandible"}')


def other_request(path: Path) -> None:
    path.write_text(path.read_text().replace('"seed": 41', '"seed": 42'))


DAMAGES = [
    *[(name, Path.unlink) for name in ("labels.nii.gz", "labels.json", "ct.nii.gz", "request.json", "manifest.json")],
    *[(name, truncate) for name in ("labels.nii.gz", "labels.json", "ct.nii.gz", "request.json", "manifest.json")],
    *[(name, damage) for name in ("labels.nii.gz", "ct.nii.gz") for damage in (break_affine, shorten)],
    ("ct.nii.gz", move),
    ("manifest.json", not_synthetic),
    ("labels.json", rename),
    ("request.json", other_request),
]


@pytest.mark.parametrize(("name", "damage"), DAMAGES, ids=[f"{damage.__name__} {name}" for name, damage in DAMAGES])
def test_a_damaged_result_is_refused_by_name_and_leaves_nothing_in_the_scene(slicer_app, folder, name, damage):
    broken = folder.parent / "broken"
    shutil.copytree(folder, broken)
    damage(broken / name)
    before = node_ids(slicer_app.scene)
    with pytest.raises(BadRequest, match=name.replace(".", r"\.")):
        ResultLoader(slicer_app.scene).load([folder, broken])
    assert node_ids(slicer_app.scene) == before


def test_a_result_on_another_grid_than_asked_for_is_refused(slicer_app, tmp_path):
    other = Grid(turned_grid().shape, turned_grid(left_handed=True).affine)
    folder = write_result(tmp_path / "result", turned_grid(), two_blocks(turned_grid()), asked=other)
    with pytest.raises(BadRequest, match=r"labels\.nii\.gz is not on the grid"):
        ResultLoader(slicer_app.scene).load([folder])


class FailsAtTheSecond(SegmentationBuilder):
    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def fill(self, node, labels, names) -> None:
        self.calls += 1
        if self.calls == 2:
            raise MemoryError
        super().fill(node, labels, names)


def test_a_failure_half_way_leaves_nothing_in_the_scene(slicer_app, folder):
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer_app.scene)
    before, items = node_ids(slicer_app.scene), hierarchy.GetNumberOfItems()
    with pytest.raises(MemoryError):
        ResultLoader(slicer_app.scene, FailsAtTheSecond()).load([folder, folder])
    assert node_ids(slicer_app.scene) == before
    assert hierarchy.GetNumberOfItems() == items
    assert not slicer_app.scene.IsBatchProcessing()


def test_loading_is_one_update_of_the_scene(slicer_app, folder):
    states = []
    for event in ("StartBatchProcessEvent", "EndBatchProcessEvent"):
        slicer_app.scene.AddObserver(getattr(slicer.vtkMRMLScene, event), lambda *_, event=event: states.append(event))
    ResultLoader(slicer_app.scene).load([folder, folder])
    assert states == ["StartBatchProcessEvent", "EndBatchProcessEvent"]


def test_slicers_process_gets_no_heavy_import():
    modules = "ResultLoader, Run, SampleSwitcher, ViewFitter, LabelExport, Canvas, Readout"
    heavy = "[m for m in sys.modules if m.split('.')[0] in ('torch', 'nibabel', 'skimage', 'monai', 'scipy')]"
    lines = f"import sys; sys.path[:0] = {sys.path!r}\nfrom Sketch2CTModuleLib import {modules}\nprint({heavy})"
    told = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, check=True).stdout
    assert told.strip() == "[]"
