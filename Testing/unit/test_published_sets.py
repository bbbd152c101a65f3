"""Converting the published layouts of CHAOS, AVT and the Medical Segmentation Decathlon."""

from __future__ import annotations

import builtins
import json
import pickle
import sys

import numpy as np
import pytest

from dicom_files import provide_pydicom, write_slice
from published_sets import make_avt, make_chaos, make_msd_heart, make_msd_liver
from sketch2ct import modality
from sketch2ct.cli import main
from sketch2ct.data import avt, chaos, msd
from sketch2ct.data.converting import Scan, coarser, split_cases
from sketch2ct.data.derived import derive
from sketch2ct.data.dicom import read_slices
from sketch2ct.data.nnunet import Dataset
from sketch2ct.errors import BadRequest
from sketch2ct.geometry import Grid
from sketch2ct.imaging import resample

SETS = {
    "chaos": (chaos, make_chaos, "liver"),
    "avt": (avt, make_avt, "aorta"),
    "msd liver": (msd, make_msd_liver, "liver"),
    "msd heart": (msd, make_msd_heart, "left_atrium"),
}


@pytest.fixture(params=SETS)
def published(request, tmp_path, monkeypatch):
    """A converter, its source, what it must give, and the structure."""
    provide_pydicom(monkeypatch)
    converter, make, structure = SETS[request.param]
    made = make(tmp_path / "source")
    return converter, tmp_path / "source", made, structure


def test_every_voxel_keeps_its_value_its_label_and_its_place(published, tmp_path):
    converter, source, made, structure = published
    dataset = Dataset(converter.convert(source, tmp_path / "out", spacing=0))
    assert sorted(dataset.cases("Tr") + dataset.cases("Ts")) == sorted(made)
    for case, (values, mask, affine) in made.items():
        image, labels = dataset.image(case), dataset.labels(case)
        drawn = Grid(values.shape, affine)
        assert image.grid.matches(labels.grid) and dataset.labelled(case) == [structure]
        assert np.array_equal(resample(labels.mask(structure).astype(np.uint8), labels.grid, drawn, order=0) > 0, mask)
        found = resample(image.array.astype(np.float32), image.grid, drawn, order=0)
        wanted = modality.normalised_mr(values) if dataset.modality == modality.MR else values
        assert np.array_equal(found, wanted)


def test_the_data_set_says_what_it_is(published, tmp_path):
    converter, source, made, structure = published
    progress = []
    root = converter.convert(source, tmp_path / "out", seed=3, progress=lambda *step: progress.append(step))
    description = json.loads((root / "dataset.json").read_text())
    assert description["labels"] == {"background": 0, structure: 1} and "CC BY" in description["licence"]
    assert description["split"] == {"seed": 3, "test_share": 0.2} and description["numTraining"] == 3
    assert set(description["cases"]) == set(made) and progress[-1][:2] == (4, 4)
    channel = ("MR", {"0": "MRI"}) if structure == "left_atrium" else ("CT", {"0": "CT"})
    assert (description["modality"], description["channel_names"]) == channel
    with pytest.raises(BadRequest, match="already holds"):
        converter.convert(source, root)


def test_the_command_line_converts_or_says_what_to_name(published, tmp_path, capsys):
    converter, source, _, _ = published
    name = converter.__name__.rpartition(".")[2]
    assert main(["convert", name, str(source), str(tmp_path / "out"), "--seed", "1"]) == 0
    assert capsys.readouterr().err.splitlines()[-1].startswith("4/4 ")
    assert main(["convert", name, str(tmp_path / "nothing"), str(tmp_path / "other")]) == 2
    assert "npack" in capsys.readouterr().err


def test_the_published_counts_are_split_eight_to_two():
    for cases, tests in ((20, 4), (56, 11), (131, 26), (2, 1)):
        names = [f"c{n:03d}" for n in range(cases)]
        split = split_cases(names, 0, "set")
        assert list(split.values()).count("Ts") == tests and split == split_cases(names[::-1], 0, "set")
    twenty = [f"c{n}" for n in range(20)]
    assert split_cases(twenty, 0, "set") != split_cases(twenty, 1, "set")
    with pytest.raises(BadRequest, match="1 cases"):
        split_cases(["one"], 0, "set")


def test_fine_voxels_are_averaged_in_place():
    grid = Grid((5, 4, 3), np.array([[-0.75, 0, 0, 10], [0, 0.75, 0, -3], [0, 0, 3, 7], [0, 0, 0, 1.0]]))
    image = np.arange(60, dtype=np.float32).reshape(5, 4, 3)
    found = coarser(Scan(image, image >= 30, grid), 1.5)
    assert found.image.shape == (3, 2, 3) and found.grid.spacing.tolist() == [1.5, 1.5, 3.0]
    assert found.image[0, 0, 0] == image[:2, :2, 0].mean() and found.image[2, 0, 0] == image[4, :2, 0].mean()
    assert found.grid.to_ras((1, 1, 2)) == pytest.approx(grid.to_ras((2.5, 2.5, 2)))
    assert found.mask[1].all() and not found.mask[0].any()  # rows 2 and 3: the lower half of row 2 is outside, a half counts


def test_a_slice_without_a_mask_is_refused(tmp_path, monkeypatch):
    provide_pydicom(monkeypatch)
    make_chaos(tmp_path)
    ground = tmp_path / "Train_Sets" / "CT" / "10" / "Ground"
    (ground / "liver_GT_031.png").unlink()
    with pytest.raises(BadRequest, match="32 DICOM slices and 31 masks"):
        chaos.convert(tmp_path, tmp_path / "out")


def test_offsets_and_padding_are_recorded_or_taken_for_air(tmp_path):
    made = make_avt(tmp_path / "source")
    cases = json.loads((avt.convert(tmp_path / "source", tmp_path / "out") / "dataset.json").read_text())["cases"]
    assert {case: entry.get("shift_hu") for case, entry in cases.items()} == {case: -1024 if case == "avt_D1" else None for case in made}
    assert cases["avt_R1"]["source"] == "Rider/R1 (AD)"


def test_a_task_that_is_not_known_is_refused(tmp_path):
    make_msd_heart(tmp_path)
    description = json.loads((tmp_path / "dataset.json").read_text())
    (tmp_path / "dataset.json").write_text(json.dumps(description | {"labels": {"0": "background", "1": "spleen"}}))
    with pytest.raises(BadRequest, match=r"spleen.*MSD Task03 liver"):
        msd.convert(tmp_path, tmp_path / "out")
    (tmp_path / "dataset.json").write_text(json.dumps(description | {"modality": {"0": "CT"}}))
    with pytest.raises(BadRequest, match="is MR"):
        msd.convert(tmp_path, tmp_path / "out")


def slices(folder, heights, **changes):
    files = []
    for n, height in enumerate(heights):
        files.append(folder / f"i{n:04d}.dcm")
        pixels = np.arange(12, dtype=np.uint16).reshape(3, 4) + 100 * n
        write_slice(files[-1], pixels, (10, 20, height), (2.0, 1.5), f"1.2.{n}", **changes)
    return files


def test_slices_are_stacked_along_their_normal(tmp_path, monkeypatch):
    provide_pydicom(monkeypatch)
    volume, grid, order = read_slices(slices(tmp_path, (30, 25, 20), slope=2, intercept=-7))
    assert order == [2, 1, 0] and volume.shape == (4, 3, 3)
    assert volume[3, 1, 0] == 2 * (200 + 4 + 3) - 7  # row 1, column 3 of the lowest slice
    assert np.allclose(grid.affine, [[-1.5, 0, 0, -10], [0, -2, 0, -20], [0, 0, 5, 20], [0, 0, 0, 1]])


def test_oblique_slices_keep_their_axes(tmp_path, monkeypatch):
    provide_pydicom(monkeypatch)
    files = []
    for n in range(3):
        files.append(tmp_path / f"i{n}.dcm")  # sagittal: rows to posterior, columns down, slices to the left
        write_slice(files[-1], np.zeros((3, 4), np.uint16), (5 + 4 * n, 0, 0), (2, 1.5), f"1.3.{n}", orientation=(0, 1, 0, 0, 0, -1))
    _, grid, order = read_slices(files)
    assert order == [2, 1, 0]  # the normal, row x column, points to the right
    assert np.allclose(grid.affine, [[0, 0, 4, -13], [-1.5, 0, 0, 0], [0, -2, 0, 0], [0, 0, 0, 1]])


@pytest.mark.parametrize("heights", [(30, 25, 20, 10), (30, 25, 25, 20), (30,)])
def test_a_missing_or_doubled_slice_is_named(tmp_path, monkeypatch, heights):
    provide_pydicom(monkeypatch)
    with pytest.raises(BadRequest, match="uneven"):
        read_slices(slices(tmp_path, heights))


def test_without_pydicom_the_message_says_how_to_get_it(tmp_path, monkeypatch):
    files = slices(tmp_path, (30, 25))
    real = builtins.__import__
    monkeypatch.delitem(sys.modules, "pydicom", raising=False)

    def missing(name, *rest, **named):
        if name == "pydicom":
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(BadRequest, match="pip install"):
        read_slices(files)


def test_mr_intensities_have_the_same_scale_whatever_the_scanner_gave():
    values = np.concatenate([np.zeros(100), np.linspace(0, 500, 900)])
    once = modality.normalised_mr(values)
    assert np.percentile(once, 99.5) == pytest.approx(1000, abs=2) and once.min() == 0
    assert np.array_equal(once, modality.normalised_mr(7 * values)) and np.abs(modality.normalised_mr(once) - once).max() <= 2
    with pytest.raises(ValueError, match="no signal"):
        modality.normalised_mr(np.zeros(5))


def test_a_modality_stays_itself_in_another_process():
    assert pickle.loads(pickle.dumps(modality.MR)) is modality.MR and modality.of({}) is modality.CT


def test_an_mr_tells_its_body_only(tmp_path):
    make_msd_heart(tmp_path / "source")
    image = Dataset(msd.convert(tmp_path / "source", tmp_path / "out")).image("la_003")
    masks = derive(image)
    assert list(masks) == ["body"] and (masks["body"] == (image.array > 0)).mean() > 0.99
