"""A segmentation leaves as the label map that it is, under the vocabulary's names."""

from __future__ import annotations

import json

import numpy as np
import pytest
import slicer

from result_folders import turned_grid, two_blocks, write_result
from sketch2ct.anatomy import vocabulary
from sketch2ct.errors import BadRequest, WriteFailed
from sketch2ct.imaging import read_image, read_labels
from sketch2ct.naming import names_beside
from Sketch2CTModuleLib.LabelExport import LabelExport
from Sketch2CTModuleLib.ResultLoader import ResultLoader
from Sketch2CTModuleLib.SegmentationBuilder import orientedImage
from Sketch2CTModuleLib.Terminology import Terminology

MANDIBLE, PAROTID = 7, 4  # their places in the vocabulary


def segmentation_of(scene, masks: dict[str, np.ndarray], grid=None, name: str = "Mine"):
    """A user's segmentation: segments by name, each with an image of its own, so that they may overlap."""
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.GetSegmentation().SetSourceRepresentationName("Binary labelmap")
    grid = grid or turned_grid()
    for title, mask in masks.items():
        segment = slicer.vtkSegment()
        segment.SetName(title)
        segment.AddRepresentation("Binary labelmap", orientedImage(grid, mask.astype(np.uint8)))
        node.GetSegmentation().AddSegment(segment)
    geometry = slicer.vtkSegmentationConverter.SerializeImageGeometry(orientedImage(grid))
    node.GetSegmentation().SetConversionParameter("Reference image geometry", geometry)
    return node


def block(*corner: int, size: int = 6) -> np.ndarray:
    mask = np.zeros(turned_grid().shape, dtype=bool)
    mask[tuple(slice(n, n + size) for n in corner)] = True
    return mask


@pytest.mark.parametrize("left_handed", [False, True])
def test_a_loaded_mask_leaves_exactly_as_it_came(slicer_app, tmp_path, left_handed):
    grid = turned_grid(left_handed)
    folder = write_result(tmp_path / "result", grid, two_blocks(grid))
    (sample,) = ResultLoader(slicer_app.scene).load([folder]).samples
    path = LabelExport().write(sample.segmentation, tmp_path)
    assert path == tmp_path / "labels.nii.gz"
    assert json.loads((tmp_path / "labels.json").read_text()) == {"4": "parotid_gland_left", "7": "mandible"}
    back, source = read_labels(path, names_beside(path)), read_labels(folder / "labels.nii.gz", {})
    assert back.array.dtype == np.uint8
    index = np.round(source.grid.to_index(back.grid.voxel_centres()))
    assert np.abs(source.grid.to_ras(index) - back.grid.voxel_centres()).max() < 1e-4
    i, j, k = np.moveaxis(index.astype(int), -1, 0)
    assert np.array_equal(back.array, source.array[i, j, k])


def test_the_geometry_is_exact_to_a_files_precision(slicer_app, tmp_path):
    path = LabelExport().write(segmentation_of(slicer_app.scene, {"mandible": block(3, 3, 3)}), tmp_path)
    array, grid = read_image(path)
    assert np.abs(grid.corners() - turned_grid().corners()).max() < 1e-4
    assert np.array_equal(array > 0, block(3, 3, 3))


def test_the_scene_is_as_before(slicer_app, tmp_path):
    node = segmentation_of(slicer_app.scene, {"mandible": block(3, 3, 3)})
    before = [slicer_app.scene.GetNthNode(n).GetID() for n in range(slicer_app.scene.GetNumberOfNodes())]
    changed = node.GetSegmentation().GetMTime()
    LabelExport().write(node, tmp_path)
    assert [slicer_app.scene.GetNthNode(n).GetID() for n in range(slicer_app.scene.GetNumberOfNodes())] == before
    assert node.GetSegmentation().GetMTime() == changed


def test_a_corrected_mask_leaves_with_the_correction(slicer_app, tmp_path):
    folder = write_result(tmp_path / "result", turned_grid(), two_blocks(turned_grid()), ct=False)
    (sample,) = ResultLoader(slicer_app.scene).load([folder]).samples
    mask = block(1, 1, 1)
    value = sample.segmentation.GetSegmentation().GetSegment("mandible").GetLabelValue()
    slicer.vtkSlicerSegmentationsModuleLogic.SetBinaryLabelmapToSegment(
        orientedImage(turned_grid(), mask.astype(np.uint8) * np.uint8(value)),
        sample.segmentation,
        "mandible",
        slicer.vtkSlicerSegmentationsModuleLogic.MODE_MERGE_MAX,
    )
    array, _ = read_image(LabelExport().write(sample.segmentation, tmp_path))
    assert np.array_equal(array == MANDIBLE, mask | (two_blocks(turned_grid()) == MANDIBLE))
    assert np.array_equal(array == PAROTID, two_blocks(turned_grid()) == PAROTID)


def test_names_synonyms_and_codes_are_understood_and_codes_come_first(slicer_app):
    node = segmentation_of(slicer_app.scene, {"Lower jaw": block(0, 0, 0), "LEFT parotid": block(9, 9, 9), "Brainstem": block(18, 9, 9)})
    coded = node.GetSegmentation().GetNthSegment(2)
    Terminology().tag(coded, vocabulary()["parotid_gland_right"])
    assert list(LabelExport().structures(node).values()) == ["mandible", "parotid_gland_left", "parotid_gland_right"]


def test_every_structure_is_found_by_its_own_codes(slicer_app):
    for structure in vocabulary().values():
        segment = slicer.vtkSegment()
        segment.SetName("Segment_1")
        Terminology().tag(segment, structure)
        assert Terminology().structureOf(segment) == structure.name


def test_a_side_that_is_not_stated_is_not_guessed(slicer_app):
    node = segmentation_of(slicer_app.scene, {"Parotid gland": block(0, 0, 0)})
    tag = "Segmentation category and type~SCT^123037004^Anatomical Structure~SCT^45289007^Parotid gland~^^~Anatomic codes~^^~^^"
    node.GetSegmentation().GetNthSegment(0).SetTag("TerminologyEntry", tag)
    with pytest.raises(BadRequest, match="Parotid gland"):
        LabelExport().structures(node)


def test_unknown_segments_are_all_named(slicer_app, tmp_path):
    node = segmentation_of(slicer_app.scene, {"mandible": block(0, 0, 0), "Tumour": block(1, 1, 1), "Segment_2": block(2, 2, 2)})
    with pytest.raises(BadRequest, match=r"'Tumour', 'Segment_2'.*Known: Brainstem, .*Mandible"):
        LabelExport().write(node, tmp_path)
    assert not list(tmp_path.glob("labels*"))


def test_the_later_of_overlapping_segments_wins_and_the_same_structure_is_joined(slicer_app, tmp_path):
    a, b, c = block(2, 2, 2), block(5, 2, 2), block(20, 20, 10)
    node = segmentation_of(slicer_app.scene, {"mandible": a, "larynx": b, "jaw": c})
    array, _ = read_image(LabelExport().write(node, tmp_path))
    assert np.array_equal(array == MANDIBLE, (a & ~b) | c)
    assert np.array_equal(array == 6, b)


def test_chosen_segments_leave_alone_whatever_the_others_are(slicer_app, tmp_path):
    node = segmentation_of(slicer_app.scene, {"Tumour": block(0, 0, 0), "jaw": block(9, 9, 9)})
    array, _ = read_image(LabelExport().write(node, tmp_path, segments=[node.GetSegmentation().GetNthSegmentID(1)]))
    assert np.array_equal(array == MANDIBLE, block(9, 9, 9))
    assert json.loads((tmp_path / "labels.json").read_text()) == {"7": "mandible"}


@pytest.mark.parametrize("masks", [{}, {"mandible": np.zeros(turned_grid().shape)}], ids=["no segments", "no voxels"])
def test_an_empty_segmentation_is_refused(slicer_app, tmp_path, masks):
    with pytest.raises(BadRequest, match=r"no segments|empty"):
        LabelExport().write(segmentation_of(slicer_app.scene, masks), tmp_path)


def test_a_segmentation_without_a_grid_is_refused(slicer_app, tmp_path):
    node = segmentation_of(slicer_app.scene, {"mandible": block(0, 0, 0)})
    node.GetSegmentation().SetConversionParameter("Reference image geometry", "")
    with pytest.raises(BadRequest, match="Segment Editor"):
        LabelExport().write(node, tmp_path)


def test_a_given_volumes_grid_is_used(slicer_app, tmp_path):
    node = segmentation_of(slicer_app.scene, {"mandible": block(6, 6, 6, size=12)})
    grid = turned_grid()
    coarse = grid.affine @ np.diag([2.0, 2.0, 2.0, 1.0])
    volume = slicer.util.addVolumeFromArray(np.zeros((12, 18, 20)), ijkToRAS=coarse)
    array, made = read_image(LabelExport().write(node, tmp_path, volume))
    assert array.shape == (20, 18, 12)
    assert np.abs(made.affine - coarse).max() < 1e-4
    assert array[4:8, 4:8, 4:8].all()
    assert array.astype(bool).sum() * 8 == pytest.approx(12**3, rel=0.25)


def test_transforms_of_mask_and_volume_are_applied(slicer_app, tmp_path):
    node = segmentation_of(slicer_app.scene, {"mandible": block(6, 6, 6)})
    shift = slicer_app.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = np.eye(4)
    matrix[:3, 3] = turned_grid().affine[:3, :3] @ [4, 0, 0]  # four voxels along i
    shift.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    node.SetAndObserveTransformNodeID(shift.GetID())
    array, _ = read_image(LabelExport().write(node, tmp_path))
    assert np.array_equal(array > 0, block(10, 6, 6))
    volume = slicer.util.addVolumeFromArray(np.zeros(turned_grid().shape[::-1]), ijkToRAS=turned_grid().affine)
    volume.SetAndObserveTransformNodeID(shift.GetID())
    array, grid = read_image(LabelExport().write(node, tmp_path, volume))
    assert np.array_equal(array > 0, block(6, 6, 6))
    assert np.abs(grid.affine - matrix @ turned_grid().affine).max() < 1e-4


def test_surfaces_alone_are_turned_into_voxels_without_touching_the_node(slicer_app, tmp_path):
    node = segmentation_of(slicer_app.scene, {"mandible": block(6, 6, 6, size=12)})
    node.CreateClosedSurfaceRepresentation()
    node.GetSegmentation().SetSourceRepresentationName("Closed surface")
    node.GetSegmentation().RemoveRepresentation("Binary labelmap")
    array, _ = read_image(LabelExport().write(node, tmp_path))
    assert (array > 0).sum() == pytest.approx(12**3, rel=0.15)
    assert (array > 0)[7:17, 7:17, 7:17].all()
    assert not node.GetSegmentation().ContainsRepresentation("Binary labelmap")


def test_a_folder_that_cannot_be_written_is_told(slicer_app, tmp_path):
    with pytest.raises(WriteFailed, match=r"labels\.nii\.gz"):
        LabelExport().write(segmentation_of(slicer_app.scene, {"mandible": block(0, 0, 0)}), tmp_path / "none")
