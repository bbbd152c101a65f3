"""Exports as DICOM: exact HU and masks in their places, by pydicom and highdicom; contours in mm; rules of the standard; no patient."""

import hashlib
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
from skimage.draw import polygon2mask

import dicom_rules
from export_cases import GRIDS, NAMES, add_case, add_edit, organs, plain_grid, start_cohort
from sketch2ct.anatomy import vocabulary
from sketch2ct.errors import BadRequest
from sketch2ct.export import run
from sketch2ct.export.contours import closed_contours
from sketch2ct.export.dicom_ct import axial
from sketch2ct.export.options import Options
from sketch2ct.geometry import Grid
from sketch2ct.imaging import read_ct

LPS = np.array([-1.0, -1.0, 1.0])
CASE = "case-00001"


def send(root, out, **options):
    return run.export(root, out, Options("dicom", "all", **options))


def lone(folder, grid, labels=None, **more):
    root = start_cohort(folder, 1)
    add_case(root, 1, grid, labels, **more)
    return root


@pytest.fixture(scope="module", autouse=True)
def strict():
    """pydicom refuses what it otherwise warns of."""
    settings = pydicom.config.settings
    before = settings.reading_validation_mode, settings.writing_validation_mode
    settings.reading_validation_mode = settings.writing_validation_mode = pydicom.config.RAISE
    yield
    settings.reading_validation_mode, settings.writing_validation_mode = before


class Study:
    """What lies in one case's folder, read by pydicom."""

    def __init__(self, folder: Path) -> None:
        self.slices = [pydicom.dcmread(path) for path in sorted((folder / "ct").iterdir())]
        self.seg, self.rt = pydicom.dcmread(folder / "seg.dcm"), pydicom.dcmread(folder / "rtstruct.dcm")

    @property
    def objects(self):
        return [*self.slices, self.seg, self.rt]


@pytest.fixture(scope="module", params=list(GRIDS))
def exported(request, tmp_path_factory):
    """The grid, the cohort and the study of one case, for each kind of grid."""
    folder = tmp_path_factory.mktemp("dicom")
    grid = GRIDS[request.param]()
    root = lone(folder / "cohort", grid)
    send(root, folder / "out")
    return grid, root, Study(folder / "out" / CASE)


def voxels(position, orientation, spacing, rows, columns):
    """LPS mm of every pixel of a frame, (rows, columns, 3), by the equation of PS3.3, C.7.6.2.1.1."""
    x, y = np.reshape(np.asarray(orientation, float), (2, 3))
    row, column = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    return np.asarray(position, float) + column[..., None] * x * float(spacing[1]) + row[..., None] * y * float(spacing[0])


def at(grid, array, lps):
    """The array's values at LPS positions, which must be voxel centres."""
    index = grid.to_index(np.asarray(lps) * LPS)
    nearest = np.round(index).astype(int)
    assert np.abs(index - nearest).max() < 1e-3 and nearest.min() >= 0
    return array[tuple(np.moveaxis(nearest, -1, 0))]


def test_every_hu_is_where_it_was(exported):
    grid, root, study = exported
    ct = read_ct(root / "cases" / CASE / "ct.nii.gz")
    count = 0
    for one in study.slices:
        hu = one.pixel_array * float(one.RescaleSlope) + float(one.RescaleIntercept)
        places = voxels(one.ImagePositionPatient, one.ImageOrientationPatient, one.PixelSpacing, *hu.shape)
        assert np.array_equal(at(grid, ct.array, places), hu)
        count += hu.size
    assert count == ct.array.size


def test_slices_are_the_axial_ones_in_order_with_the_left_on_the_right(exported):
    _, _, study = exported
    x, y = np.reshape(np.asarray(study.slices[0].ImageOrientationPatient, float), (2, 3))
    assert x.argmax() == 0 and y.argmax() == 1 and x[0] > 0.9 and y[1] > 0.9
    assert abs(x @ y) < 1e-6 and abs(x @ x - 1) < 1e-6
    heights = [np.cross(x, y) @ np.asarray(one.ImagePositionPatient, float) for one in study.slices]
    assert np.all(np.diff(heights) > 0) and np.ptp(np.diff(heights)) < 1e-3
    assert float(study.slices[0].SliceThickness) == pytest.approx(np.diff(heights)[0], abs=1e-3)
    assert [one.InstanceNumber for one in study.slices] == list(range(1, len(study.slices) + 1))


def test_highdicom_reads_the_same_mask_back(exported):
    grid, _, study = exported
    seg = highdicom.seg.Segmentation.from_dataset(study.seg)
    uids = [one.SOPInstanceUID for one in study.slices]
    array = seg.get_pixels_by_source_instance(uids, combine_segments=True, assert_missing_frames_are_empty=True)
    labels = organs(grid)
    for number in seg.segment_numbers:
        name = seg.get_segment_description(number).segment_label
        value = next(value for value, known in NAMES.items() if vocabulary()[known].display == name)
        for one, frame in zip(study.slices, array, strict=True):
            places = voxels(one.ImagePositionPatient, one.ImageOrientationPatient, one.PixelSpacing, one.Rows, one.Columns)
            assert np.array_equal(frame == number, at(grid, labels, places) == value)
    assert len(seg.segment_numbers) == 2, "the larynx has no voxel and no segment"


def test_the_frames_of_the_mask_lie_in_space_where_the_mask_lies(exported):
    grid, _, study = exported
    shared = study.seg.SharedFunctionalGroupsSequence[0]
    spacing, orientation = shared.PixelMeasuresSequence[0].PixelSpacing, shared.PlaneOrientationSequence[0].ImageOrientationPatient
    volume = 0.0
    for group, frame in zip(study.seg.PerFrameFunctionalGroupsSequence, study.seg.pixel_array, strict=True):
        segment = group.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        places = voxels(group.PlanePositionSequence[0].ImagePositionPatient, orientation, spacing, *frame.shape)
        found = at(grid, organs(grid), places) == (4 if segment == 1 else 7)
        assert np.array_equal(frame.astype(bool), found)
        volume += frame.sum() * grid.voxel_ml
    assert volume == pytest.approx((organs(grid) > 0).sum() * grid.voxel_ml)


def drawn(study, roi, number):
    """A region filled slice by slice, from the contour points alone: (slices, rows, columns)."""
    first = study.slices[0]
    x, y = np.reshape(np.asarray(first.ImageOrientationPatient, float), (2, 3))
    rows, columns = (float(mm) for mm in first.PixelSpacing)
    result = np.zeros((len(study.slices), first.Rows, first.Columns), bool)
    for contour in next(item for item in study.rt.ROIContourSequence if item.ReferencedROINumber == number).ContourSequence:
        points = np.reshape(np.asarray(contour.ContourData, float), (-1, 3))
        assert len(points) == contour.NumberOfContourPoints >= 3
        uid = contour.ContourImageSequence[0].ReferencedSOPInstanceUID
        place = next(n for n, one in enumerate(study.slices) if one.SOPInstanceUID == uid)
        offset = points - np.asarray(study.slices[place].ImagePositionPatient, float)
        assert np.abs(offset @ np.cross(x, y)).max() < 1e-3, "the contour is not on its slice"
        result[place] ^= polygon2mask(result.shape[1:], np.stack([offset @ y / rows, offset @ x / columns], axis=1))
    return result


def test_contours_filled_again_give_the_mask_to_the_millimetre(exported):
    grid, _, study = exported
    labels = organs(grid)
    for roi in study.rt.StructureSetROISequence:
        value = next(value for value, name in NAMES.items() if vocabulary()[name].display == roi.ROIName)
        found = drawn(study, roi, roi.ROINumber)
        truth = np.stack(
            [
                at(grid, labels, voxels(one.ImagePositionPatient, one.ImageOrientationPatient, one.PixelSpacing, one.Rows, one.Columns))
                == value
                for one in study.slices
            ]
        )
        assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.97
        points = np.concatenate([np.reshape(np.asarray(c.ContourData, float), (-1, 3)) for c in contours_of(study, roi.ROINumber)])
        index = grid.to_index(points * LPS)
        extent = np.argwhere(labels == value)
        assert np.abs(index.min(0) - extent.min(0)).max() < 0.51 and np.abs(index.max(0) - extent.max(0)).max() < 0.51


def contours_of(study, number):
    return next(item for item in study.rt.ROIContourSequence if item.ReferencedROINumber == number).ContourSequence


def test_every_object_keeps_the_rules_of_the_standard(exported):
    _, _, study = exported
    assert [problem for one in study.objects for problem in dicom_rules.problems(one)] == []


def test_identifiers_are_unique_and_every_reference_leads_somewhere(exported):
    _, _, study = exported
    uids = [one.SOPInstanceUID for one in study.objects]
    assert len(set(uids)) == len(uids) and all(uid.startswith("2.25.") for uid in uids)
    assert len({one.StudyInstanceUID for one in study.objects}) == len({one.FrameOfReferenceUID for one in study.objects}) == 1
    assert len({one.SeriesInstanceUID for one in study.objects}) == 3
    known = {*uids, study.slices[0].StudyInstanceUID}
    assert dicom_rules.references(study.seg) and dicom_rules.references(study.rt)
    assert dicom_rules.references(study.seg) | dicom_rules.references(study.rt) <= known
    frame = study.rt.ReferencedFrameOfReferenceSequence[0]
    assert frame.FrameOfReferenceUID == study.slices[0].FrameOfReferenceUID
    assert frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence[0].SeriesInstanceUID == study.slices[0].SeriesInstanceUID
    numbers = [[item[key].value for item in study.rt[name]] for name, key in RT_NUMBERS]
    assert numbers[0] == numbers[1] == numbers[2]


RT_NUMBERS = (
    ("StructureSetROISequence", "ROINumber"),
    ("ROIContourSequence", "ReferencedROINumber"),
    ("RTROIObservationsSequence", "ReferencedROINumber"),
)


def test_no_object_can_be_taken_for_a_patients(exported):
    _, _, study = exported
    for one in study.objects:
        assert one.SyntheticData == "YES" and one.PatientIdentityRemoved == "YES" and "No patient" in one.DeidentificationMethod
        assert str(one.PatientName) == f"SYNTHETIC^{CASE}" and one.PatientID.startswith("SYNTHETIC-") and one.PatientBirthDate == ""
        assert one.StudyDescription.startswith("SYNTHETIC") and one.SeriesDescription.startswith("SYNTHETIC")
        assert one.Manufacturer == "Sketch2CT" and one.ContributingEquipmentSequence[0].Manufacturer == "Sketch2CT"
        assert "ab" * 32 in one.ContributingEquipmentSequence[0].ContributionDescription
    for one in study.slices:
        assert list(one.ImageType)[:2] == ["DERIVED", "SECONDARY"] and one.BurnedInAnnotation == "NO" and one.KVP is None
        assert "seed 41" in one.DerivationDescription and "headneck" in one.DerivationDescription


def test_structures_carry_codes_sides_colours_and_their_maker(exported):
    _, _, study = exported
    segments = {segment.SegmentLabel: segment for segment in study.seg.SegmentSequence}
    gland = segments["Left parotid gland"]
    kind = gland.SegmentedPropertyTypeCodeSequence[0]
    assert (kind.CodeValue, kind.CodingSchemeDesignator) == ("45289007", "SCT")
    assert kind.SegmentedPropertyTypeModifierCodeSequence[0].CodeValue == "7771000"
    assert gland.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "123037004"
    assert "SegmentedPropertyTypeModifierCodeSequence" not in segments["Mandible"].SegmentedPropertyTypeCodeSequence[0]
    algorithm = gland.SegmentationAlgorithmIdentificationSequence[0]
    assert gland.SegmentAlgorithmType == "AUTOMATIC" and "headneck" in algorithm.AlgorithmName and algorithm.AlgorithmVersion == "ab" * 8
    lab = highdicom.color.CIELabColor.from_dicom_value(gland.RecommendedDisplayCIELabValue)
    assert np.abs(np.array(lab.to_rgb()) - vocabulary()["parotid_gland_left"].color).max() <= 2
    region = study.rt.RTROIObservationsSequence[0]
    assert region.RTROIIdentificationCodeSequence[0].CodeValue == "45289007"
    assert region.RTROIIdentificationCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence[0].CodeValue == "7771000"
    assert list(study.rt.ROIContourSequence[1].ROIDisplayColor) == list(vocabulary()["mandible"].color)


def test_the_same_export_gives_the_same_bytes_and_another_seed_other_identifiers(tmp_path):
    root = lone(tmp_path / "cohort", plain_grid())
    for name, seed in (("one", 0), ("two", 0), ("three", 1)):
        send(root, tmp_path / name, seed=seed)

    def digests(name):
        folder = tmp_path / name / CASE
        return {path.relative_to(folder): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*.dcm")}

    assert digests("one") == digests("two")
    assert not set(digests("one").values()) & set(digests("three").values())


def test_another_image_under_the_same_name_has_other_identifiers(tmp_path):
    studies = []
    for number in (1, 2):
        folder = tmp_path / str(number)
        root = start_cohort(folder / "cohort", 1)
        add_case(root, 1, plain_grid(), seed=number)
        send(root, folder / "out")
        studies.append({one.SOPInstanceUID for one in Study(folder / "out" / CASE).objects})
    assert not studies[0] & studies[1]


def test_an_edited_mask_changes_the_identifiers_of_mask_and_contours_but_not_of_the_ct(tmp_path):
    root = lone(tmp_path / "cohort", plain_grid())
    send(root, tmp_path / "before")
    add_edit(root, CASE, np.roll(organs(plain_grid()), 1, axis=0), NAMES)
    send(root, tmp_path / "after")
    before, after = Study(tmp_path / "before" / CASE), Study(tmp_path / "after" / CASE)
    assert [one.SOPInstanceUID for one in before.slices] == [one.SOPInstanceUID for one in after.slices]
    assert before.seg.SOPInstanceUID != after.seg.SOPInstanceUID and before.rt.SOPInstanceUID != after.rt.SOPInstanceUID
    assert {segment.SegmentAlgorithmType for segment in after.seg.SegmentSequence} == {"SEMIAUTOMATIC"}


def test_a_grid_without_right_angles_is_made_square_and_stays_in_its_place(tmp_path):
    grid = plain_grid()
    affine = grid.affine.copy()
    affine[:3, 2] += [0.0, 0.9, 0.0]
    grid = Grid(grid.shape, affine)
    send(lone(tmp_path / "cohort", grid), tmp_path / "out")
    study = Study(tmp_path / "out" / CASE)
    assert [problem for one in study.objects for problem in dicom_rules.problems(one)] == []
    x, y = np.reshape(np.asarray(study.slices[0].ImageOrientationPatient, float), (2, 3))
    assert abs(x @ y) < 1e-6
    steps = np.diff([np.asarray(one.ImagePositionPatient, float) for one in study.slices], axis=0)
    assert np.abs(steps @ np.stack([x, y], axis=1)).max() < 1e-3, "the slices are not stacked along their normal"
    points = np.concatenate([np.reshape(np.asarray(c.ContourData, float), (-1, 3)) for c in contours_of(study, 2)])
    truth = grid.to_ras(np.argwhere(organs(grid) == 7)) * LPS
    # resampling and the last voxel's own half may each add half a voxel
    assert np.abs(points.min(0) - truth.min(0)).max() < 3.1 and np.abs(points.max(0) - truth.max(0)).max() < 3.1


@pytest.mark.parametrize("seed", range(20))
def test_any_orthogonal_grid_becomes_right_handed_axial_slices_without_losing_a_place(seed):
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]  # of either handedness
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn * rng.uniform(0.5, 4, 3), rng.uniform(-200, 200, 3)
    grid = Grid((4, 5, 6), affine)
    array = np.arange(120).reshape(grid.shape)
    stack = axial(array, grid)
    assert np.linalg.det(stack.axes) == pytest.approx(1) and stack.axes[0, 0] > 0 and stack.axes[1, 1] > 0
    for number in range(stack.pixels.shape[0]):
        row, column = np.indices(stack.pixels.shape[1:])
        places = stack.to_lps(column.ravel(), row.ravel(), number)
        assert np.array_equal(at(grid, array, places), stack.pixels[number].ravel())


def filled(lines, shape):
    result = np.zeros(shape, bool)
    for line in lines:
        result ^= polygon2mask(shape, line)
    return result


@pytest.mark.parametrize("seed", range(12))
def test_contours_of_any_mask_enclose_exactly_its_voxels(seed):
    """Islands, holes, holes in islands in holes, single voxels, corners that touch, borders."""
    rng = np.random.default_rng(seed)
    mask = rng.random((17, 23)) < (0.25, 0.5, 0.75, 0.93)[seed % 4]
    mask[4:12, 3:14] |= seed % 3 == 0
    assert np.array_equal(filled(closed_contours(mask), mask.shape), mask)


def test_a_hole_is_cut_open_and_so_needs_no_contour_of_its_own():
    mask = np.ones((9, 11), bool)
    mask[2:4, 2:5] = mask[5:7, 6:9] = False
    lines = closed_contours(mask)
    assert len(lines) == 1, "two holes and their outline are one contour"
    row, column = lines[0].T
    area = abs(np.dot(row, np.roll(column, -1)) - np.dot(column, np.roll(row, -1))) / 2
    corner = 0.125  # of each voxel at a corner: outlines cut them, holes' outlines likewise
    assert area == pytest.approx((9 * 11 - 4 * corner) - 2 * (6 - 4 * corner))


def test_without_the_packages_it_says_what_to_install(tmp_path, monkeypatch):
    root = lone(tmp_path / "cohort", plain_grid())
    monkeypatch.setattr(run, "find_spec", lambda name: None if name == "highdicom" else object())
    with pytest.raises(BadRequest, match=r"needs highdicom, which is missing.*pip install highdicom"):
        send(root, tmp_path / "out")
    assert not (tmp_path / "out").exists()
