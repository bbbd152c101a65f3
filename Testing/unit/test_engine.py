"""The engine around stand-in generators: what it makes, that it makes it again, and that it leaves nothing half-done."""

import hashlib
import json
import os
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

from fake_backend import FRAME, EllipsoidMasks, FlatVolumes, circle, engine, make_bundle
from sketch2ct import results
from sketch2ct.engine import sample_seed, stage_rng
from sketch2ct.errors import BadRequest, BundleCorrupt, Cancelled, OutOfMemory, Sketch2CTError, WriteFailed
from sketch2ct.generation import Progress
from sketch2ct.geometry import Grid
from sketch2ct.imaging import CTVolume, LabelVolume, read_ct, read_labels, write_nifti
from sketch2ct.request import GenerationRequest

STABLE = ("labels.nii.gz", "labels.json", "ct.nii.gz", "request.json")


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shelf")
    make_bundle(folder)
    return folder


@pytest.fixture
def run(shelf):
    return engine(shelf)


@pytest.fixture
def a_request():
    return GenerationRequest([circle(20, (10, 20, 30))], "a mandible of 30 mL", seed=7, device="cpu")


def bytes_of(folder):
    return {name: (folder / name).read_bytes() for name in STABLE}


def test_a_result_is_complete_and_says_what_it_is(run, a_request, tmp_path):
    assert run.generate(a_request, tmp_path / "out") == [tmp_path / "out"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted((*STABLE, "manifest.json"))
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["synthetic"] is True and manifest["not_for_clinical_use"] is True and manifest["seed"] == 7
    text = (tmp_path / "out" / "request.json").read_bytes()
    assert manifest["request_sha256"] == hashlib.sha256(text).hexdigest()
    assert set(manifest["seconds"]) == set(manifest["peak_memory_mb"]) == {"load", "mask", "volume", "write"}
    assert {"sketch2ct", "python", "torch", "monai", "numpy"} <= set(manifest["versions"])
    assert manifest["quality"]["sketches"][0]["dice"] > 0.9


def test_the_images_have_the_frames_grid_and_the_documented_types(run, a_request, tmp_path):
    run.generate(a_request, tmp_path / "out")
    ct, labels = (nib.load(tmp_path / "out" / name) for name in ("ct.nii.gz", "labels.nii.gz"))
    assert ct.get_data_dtype() == np.int16 and labels.get_data_dtype() == np.uint8
    assert ct.shape == labels.shape == tuple(FRAME["shape"]) and np.allclose(ct.affine, labels.affine)
    names = json.loads((tmp_path / "out" / "labels.json").read_text())
    assert names == {"5": "mandible"}  # the bundle's own value


def test_the_frame_lies_so_that_the_structures_usual_place_is_under_the_strokes(run, a_request, tmp_path):
    run.generate(a_request, tmp_path / "out")
    grid = read_ct(tmp_path / "out" / "ct.nii.gz").grid
    assert np.allclose(grid.centre, np.array([10, 20, 30]) - [0, 12, -6], atol=2e-2)
    mask = read_labels(tmp_path / "out" / "labels.nii.gz", {5: "mandible"}).mask("mandible")
    assert np.allclose(grid.to_ras(np.argwhere(mask)).mean(0), (10, 20, 30), atol=1.5)


def test_the_same_request_and_seed_give_the_same_bytes(run, shelf, a_request, tmp_path):
    run.generate(a_request, tmp_path / "a")
    engine(shelf).generate(a_request, tmp_path / "b")
    assert bytes_of(tmp_path / "a") == bytes_of(tmp_path / "b")
    run.generate(a_request.with_changes(seed=8), tmp_path / "c")
    assert bytes_of(tmp_path / "c")["ct.nii.gz"] != bytes_of(tmp_path / "a")["ct.nii.gz"]


def test_a_result_can_be_made_again_from_its_own_request(run, a_request, tmp_path):
    folders = run.generate(a_request.with_changes(samples=3), tmp_path / "out")
    assert [f.name for f in folders] == ["sample-001", "sample-002", "sample-003"]
    run.generate(GenerationRequest.read(folders[2] / "request.json"), tmp_path / "again")
    assert bytes_of(tmp_path / "again") == bytes_of(folders[2])
    assert len({(f / "ct.nii.gz").read_bytes() for f in folders}) == 3
    run.generate(a_request, tmp_path / "single")
    assert bytes_of(tmp_path / "single") == bytes_of(folders[0])


def test_seeds_of_samples_and_stages_differ():
    assert sample_seed(5, 0) == 5 and len({sample_seed(5, n) for n in range(100)}) == 100
    assert stage_rng(5, "mask").initial_seed() != stage_rng(5, "volume").initial_seed()


def test_words_alone_are_enough_when_they_name_a_structure(run, tmp_path):
    run.generate(GenerationRequest([], "a small lower jaw", device="cpu"), tmp_path / "out")
    assert json.loads((tmp_path / "out" / "labels.json").read_text()) == {"5": "mandible"}
    assert np.allclose(read_ct(tmp_path / "out" / "ct.nii.gz").grid.centre, 0, atol=1e-3)


@pytest.mark.parametrize(
    ("request_", "match"),
    [
        (GenerationRequest([], "something round"), "names no structure"),
        (GenerationRequest([circle(structure="larynx")]), r"cannot make the structure 'larynx'.*It makes: brainstem"),
        (GenerationRequest([circle(100)]), "larger than the frame: 200 mm where the frame has 144 mm"),
        (GenerationRequest([circle(20), circle(20, (300, 0, 0), structure="brainstem")]), r"the frame, 208 mm away"),
        (GenerationRequest([circle(20), circle(20, (60, 0, 0), structure="brainstem")]), r"the frame by up to 8\.0 mm"),
        (GenerationRequest([circle(20)], grid=Grid.centred((0, 0, 0), (0.1, 1, 1), (9, 9, 9))), "0.1 x 1 x 1 mm"),
        (GenerationRequest([circle(20)], grid=Grid.centred((0, 0, 0), (1, 1, 1), (9000, 900, 900))), "too large"),
        (GenerationRequest([circle(20)], bundle="none"), "no bundle"),
    ],
)
def test_what_cannot_be_made_is_refused_before_anything_is_written(run, request_, match, tmp_path):
    with pytest.raises(Sketch2CTError, match=match):
        run.generate(request_, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_silhouette_may_be_drawn_in_front_of_the_frame(run, tmp_path):
    sketch = circle(20, (0, 0, 500), meaning="silhouette")
    grid = Grid.centred((0, 0, 0), (3, 3, 3), (40, 40, 30))
    assert run.generate(GenerationRequest([sketch], grid=grid), tmp_path / "out")


class Context:
    """A label map on disk: a brainstem of 6 x 6 x 6 voxels, value 1."""

    def __init__(self, folder, names='{"1": "brainstem"}', start=20):
        self.grid = Grid.centred((0, 0, 0), (3, 3, 3), (40, 40, 30))
        self.array = np.zeros(self.grid.shape, np.uint8)
        self.array[start : start + 6, 17:23, 12:18] = 1
        self.path = folder / "context.nii.gz"
        write_nifti(self.path, self.array, self.grid)
        if names:
            (folder / "context.json").write_text(names)


@pytest.mark.parametrize("names", ['{"1": "brainstem"}', '{"brainstem": 1}', ""])
def test_the_context_is_kept_and_gives_the_grid(run, tmp_path, names):
    context = Context(tmp_path, names)
    run.generate(GenerationRequest([circle(20)], context=str(context.path)), tmp_path / "out")
    labels = read_labels(tmp_path / "out" / "labels.nii.gz", {1: "brainstem", 5: "mandible"})
    assert labels.grid.matches(context.grid) and labels.has("mandible")
    assert (labels.mask("brainstem") == (context.array == 1)).all()


@pytest.mark.parametrize(
    ("names", "changes", "match"),
    [
        ('{"1": "brainstem"}', {"grid": Grid.centred((0, 0, 0), (3, 3, 3), (41, 40, 30))}, "on another grid"),
        ('{"1": "mandible"}', {}, "already holds the mandible"),
        ('{"1": "pancreas"}', {}, "'pancreas', which the bundle does not know"),
        ('{"2": "brainstem"}', {}, "label 1, which has no name"),
        ('{"one": "brainstem"}', {}, "pair a whole number"),
    ],
)
def test_a_context_that_does_not_fit_is_refused(run, tmp_path, names, changes, match):
    context = Context(tmp_path, names)
    with pytest.raises(BadRequest, match=match):
        run.generate(GenerationRequest([circle(20)], context=str(context.path), **changes), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_warm_engine_loads_once_and_again_for_a_changed_bundle(tmp_path):
    loads = []
    make_bundle(tmp_path / "shelf")
    run = engine(tmp_path / "shelf")
    run._masks = lambda *_: loads.append(1) or EllipsoidMasks()
    request = GenerationRequest([circle()])
    for number in range(2):
        run.generate(request, tmp_path / f"out{number}")
    assert len(loads) == 1
    make_bundle(tmp_path / "other", hu={})
    (tmp_path / "shelf" / "headneck").rename(tmp_path / "old")
    (tmp_path / "other" / "headneck").rename(tmp_path / "shelf" / "headneck")
    run.generate(request, tmp_path / "out2")
    assert len(loads) == 2


def test_progress_rises_to_one_through_all_stages(run, a_request, tmp_path):
    seen = []
    progress = Progress(report=lambda stage, step, steps, fraction, eta: seen.append((stage, fraction)))
    run.generate(a_request.with_changes(samples=2), tmp_path / "out", progress)
    fractions = [fraction for _, fraction in seen]
    assert fractions == sorted(fractions) and fractions[-1] == pytest.approx(1)
    assert {stage for stage, _ in seen} == {"load", "mask", "volume", "write"}


@pytest.mark.parametrize("stage", ["load", "mask", "volume", "write"])
def test_cancelling_in_any_stage_leaves_nothing(run, a_request, tmp_path, stage):
    progress = Progress()
    progress.report = lambda now, *_: progress.cancel.set() if now == stage else None
    with pytest.raises(Cancelled):
        run.generate(a_request.with_changes(samples=2), tmp_path / "deep" / "out", progress)
    assert not list(tmp_path.iterdir())


class Failing(EllipsoidMasks):
    def __init__(self, error):
        super().__init__()
        self.error = error

    def generate(self, condition, rng, progress):
        raise self.error


@pytest.mark.parametrize(
    "error",
    [MemoryError(), RuntimeError("CUDA out of memory. Tried"), RuntimeError("[enforce fail] can't allocate memory: 9")],
)
def test_every_way_of_running_out_of_memory_says_what_to_do(shelf, a_request, tmp_path, error):
    with pytest.raises(OutOfMemory, match="smaller frame") as caught:
        engine(shelf, masks=Failing(error)).generate(a_request, tmp_path / "out")
    assert caught.value.__cause__ is error and not list(tmp_path.iterdir())


def test_other_faults_keep_their_type_and_leave_nothing(shelf, a_request, tmp_path):
    with pytest.raises(RuntimeError, match="shape mismatch"):
        engine(shelf, masks=Failing(RuntimeError("shape mismatch"))).generate(a_request, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_ct_that_is_not_numbers_is_never_written(shelf, a_request, tmp_path):
    class Broken(FlatVolumes):
        def generate(self, labels, *args, **kwargs):
            return CTVolume(np.full(labels.grid.shape, np.nan), labels.grid)

    with pytest.raises(Sketch2CTError, match="no valid CT"):
        engine(shelf, volumes=Broken()).generate(a_request, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_labels_on_another_grid_are_never_written(shelf, a_request, tmp_path):
    class Broken(EllipsoidMasks):
        def generate(self, condition, rng, progress):
            return LabelVolume(np.zeros((3, 3, 3), np.uint8), condition.grid, {1: "mandible"})

    with pytest.raises(Sketch2CTError, match="mask generator"):
        engine(shelf, masks=Broken()).generate(a_request, tmp_path / "out")


def test_a_changed_weight_byte_is_refused(a_request, tmp_path):
    weights = make_bundle(tmp_path) / "models" / "mask.safetensors"
    weights.write_bytes(b"\1" + weights.read_bytes()[1:])
    with pytest.raises(BundleCorrupt, match="damaged"):
        engine(tmp_path).generate(a_request, tmp_path / "out")


def test_an_earlier_result_is_replaced_only_when_asked_and_only_after_success(run, shelf, a_request, tmp_path):
    run.generate(a_request, tmp_path / "out")
    before = bytes_of(tmp_path / "out")
    with pytest.raises(BadRequest, match="not empty"):
        run.generate(a_request, tmp_path / "out")
    with pytest.raises(RuntimeError):
        engine(shelf, masks=Failing(RuntimeError("x"))).generate(a_request, tmp_path / "out", replace=True)
    assert bytes_of(tmp_path / "out") == before
    run.generate(a_request.with_changes(seed=9), tmp_path / "out", replace=True)
    assert bytes_of(tmp_path / "out") != before and [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_folder_of_other_things_is_never_replaced(run, a_request, tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("x")
    with pytest.raises(BadRequest, match=r"thesis\.tex"):
        run.generate(a_request, tmp_path / "home", replace=True)
    with pytest.raises(BadRequest, match="is a file"):
        run.generate(a_request, tmp_path / "home" / "thesis.tex", replace=True)
    assert (tmp_path / "home" / "thesis.tex").read_text() == "x"


def test_what_a_killed_run_left_goes_and_what_a_living_one_writes_stays(run, a_request, tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left, busy = tmp_path / f".out.partial-{dead.pid}", tmp_path / f".out.partial-{os.getppid()}"
    left.mkdir()
    busy.mkdir()
    run.generate(a_request, tmp_path / "out")
    assert not left.exists()
    assert busy.exists()


def test_an_empty_folder_is_filled(run, a_request, tmp_path):
    (tmp_path / "out").mkdir()
    run.generate(a_request, tmp_path / "out")
    assert (tmp_path / "out" / "manifest.json").is_file()


def test_a_path_below_a_file_cannot_be_written(run, a_request, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteFailed, match="a part of that path is a file"):
        run.generate(a_request, tmp_path / "file" / "out")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 2 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"cannot mount a small file system here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_disk_that_fills_up_while_writing_leaves_nothing(shelf, a_request, small_disk, monkeypatch):
    class Noise(FlatVolumes):
        def generate(self, labels, text, rng, progress, *, steps=None):
            noise = np.random.default_rng(0).integers(-1000, 3000, labels.grid.shape)
            return CTVolume(noise.astype(np.int16), labels.grid)

    grid = Grid.centred((10, 20, 30), (1, 1, 1), (100, 100, 100))
    monkeypatch.setattr(results, "_check_space", lambda *_: None)  # as when others fill the disk meanwhile
    with pytest.raises(WriteFailed, match="the disk is full"):
        engine(shelf, volumes=Noise()).generate(a_request.with_changes(grid=grid), small_disk / "out")
    assert not list(small_disk.iterdir())


def test_a_disk_with_too_little_room_is_refused_before_the_work(run, a_request, small_disk):
    run.generate(a_request, small_disk / "fits")
    grid = Grid.centred((10, 20, 30), (1, 1, 1), (200, 200, 100))
    with pytest.raises(WriteFailed, match=r"MiB free, up to 23\.9 MiB needed"):
        run.generate(a_request.with_changes(grid=grid), small_disk / "out")
    assert os.listdir(small_disk) == ["fits"]


def test_the_date_can_be_fixed(run, a_request, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    run.generate(a_request, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["created"] == "1970-01-02T00:00:00Z"
