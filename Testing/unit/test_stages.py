"""One stage alone: the mask without a CT, and the CT of a mask that is there already."""

import json

import numpy as np
import pytest

from fake_backend import circle, engine, make_bundle
from sketch2ct.engine import spans
from sketch2ct.errors import BadRequest
from sketch2ct.generation import Progress
from sketch2ct.imaging import read_ct, read_image, write_nifti
from sketch2ct.request import NONE, GenerationRequest


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shelf")
    make_bundle(folder)
    return engine(folder)


@pytest.fixture
def a_request():
    return GenerationRequest([circle(20, (10, 20, 30))], "a mandible of 30 mL", seed=7, device="cpu")


@pytest.fixture
def a_mask(run, a_request, tmp_path):
    return run.generate(a_request.with_changes(volume_generator=NONE), tmp_path / "mask")[0]


def test_a_mask_alone_has_no_ct_and_its_readout_no_hu(a_mask):
    assert sorted(path.name for path in a_mask.iterdir()) == ["labels.json", "labels.nii.gz", "manifest.json", "request.json"]
    manifest = json.loads((a_mask / "manifest.json").read_text())
    assert set(manifest["seconds"]) == {"load", "mask", "write"} and manifest["synthetic"] is True
    assert manifest["quality"]["structures"]["mandible"]["hu_median"] is None


def test_the_ct_of_a_corrected_mask_keeps_every_voxel_of_it(run, a_request, a_mask, tmp_path):
    array, grid = read_image(a_mask / "labels.nii.gz")
    corrected = array.copy()
    corrected[24:30, 24:30, 20] = 5
    corrected[0, 0, 0] = 1  # a second structure, drawn by hand
    write_nifti(tmp_path / "corrected.nii.gz", corrected, grid)
    (tmp_path / "labels.json").write_text('{"5": "mandible", "1": "brainstem"}')
    request = a_request.with_changes(mask_generator=NONE, context=str(tmp_path / "corrected.nii.gz"))
    folder = run.generate(request, tmp_path / "ct")[0]
    kept, kept_grid = read_image(folder / "labels.nii.gz")
    assert np.array_equal(kept, corrected) and kept_grid.matches(grid, 1e-9)
    assert read_ct(folder / "ct.nii.gz").array[corrected == 5].mean() > 600
    manifest = json.loads((folder / "manifest.json").read_text())
    assert set(manifest["seconds"]) == {"load", "volume", "write"}
    assert set(manifest["quality"]["structures"]) == {"mandible", "brainstem"}
    assert manifest["quality"]["sketches"][0]["dice"] > 0.8


def test_neither_sketch_nor_words_are_needed_for_a_given_mask(run, a_mask, tmp_path):
    request = GenerationRequest(mask_generator=NONE, context=str(a_mask / "labels.nii.gz"), device="cpu")
    assert (run.generate(request, tmp_path / "ct")[0] / "ct.nii.gz").is_file()


def test_both_stages_apart_give_the_bytes_of_both_together(run, a_request, a_mask, tmp_path):
    whole = run.generate(a_request, tmp_path / "whole")[0]
    request = a_request.with_changes(mask_generator=NONE, context=str(a_mask / "labels.nii.gz"))
    apart = run.generate(request, tmp_path / "apart")[0]
    for name in ("labels.nii.gz", "ct.nii.gz"):
        assert (whole / name).read_bytes() == (apart / name).read_bytes()


def test_what_makes_no_sense_is_refused(run, a_request, a_mask, tmp_path):
    with pytest.raises(BadRequest, match="Both stages"):
        GenerationRequest(mask_generator=NONE, volume_generator=NONE, context="x.nii.gz")
    with pytest.raises(BadRequest, match="none is given"):
        GenerationRequest(mask_generator=NONE)
    array, grid = read_image(a_mask / "labels.nii.gz")
    write_nifti(tmp_path / "empty.nii.gz", np.zeros_like(array), grid)
    (tmp_path / "labels.json").write_text('{"5": "mandible"}')
    with pytest.raises(BadRequest, match="empty"):
        run.generate(GenerationRequest(mask_generator=NONE, context=str(tmp_path / "empty.nii.gz")), tmp_path / "out")
    other = a_request.with_changes(mask_generator=NONE, context=str(a_mask / "labels.nii.gz"), sketches=[circle(10, structure="brainstem")])
    with pytest.raises(BadRequest, match="brainstem is sketched"):
        run.generate(other, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_progress_goes_from_zero_to_one_whatever_is_left_out(run, a_request, a_mask, tmp_path):
    alone = a_request.with_changes(volume_generator=NONE)
    given = a_request.with_changes(mask_generator=NONE, context=str(a_mask / "labels.nii.gz"))
    for request, stages in ((alone, ["load", "mask", "write"]), (given, ["load", "volume", "write"])):
        assert list(spans(request)) == stages
        heard = []
        progress = Progress(report=lambda stage, _step, _steps, fraction, _eta, heard=heard: heard.append((stage, fraction)))
        run.generate(request, tmp_path / f"only-{stages[1]}", progress)
        fractions = [fraction for _, fraction in heard]
        assert fractions == sorted(fractions) and fractions[0] == 0 and fractions[-1] == pytest.approx(1)
        assert [stage for n, (stage, _) in enumerate(heard) if n == 0 or heard[n - 1][0] != stage] == stages
