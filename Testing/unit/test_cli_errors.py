"""Bad input through the real command line: exit status 2, one line that says what is wrong, and nothing half-written.

Most of it is refused before any weights are read, so a bundle without trained weights stands in for the shipped one.
"""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from fake_backend import circle, make_bundle
from sketch2ct.geometry import Grid
from sketch2ct.imaging import write_nifti
from sketch2ct.request import GenerationRequest


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shelf")
    make_bundle(folder)
    return folder


@pytest.fixture
def command(shelf, tmp_path):
    """Runs `python -m sketch2ct`; the arguments are its own."""

    def run(*arguments, bundles=shelf):
        environment = {**os.environ, "SKETCH2CT_BUNDLES": str(bundles), "OMP_NUM_THREADS": "1", "COLUMNS": "80"}
        line = [sys.executable, "-m", "sketch2ct", *map(str, arguments)]
        return subprocess.run(line, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=120)

    return run


@pytest.fixture
def generate(command, tmp_path):
    """Runs `generate` on a request, given as changes of a good one, and looks that it fails as it should."""

    def run(out=None, bundles=None, *options, **changes):
        data = GenerationRequest([circle(20)], "a mandible").to_dict() | changes
        (tmp_path / "request.json").write_text(json.dumps(data))
        out = out or tmp_path / "result"
        before = sorted(tmp_path.iterdir())
        where = {"bundles": bundles} if bundles else {}
        done = command("generate", "request.json", "--out", out, *options, **where)
        assert sorted(tmp_path.iterdir()) == before, "something was left behind"
        return refused(done)

    return run


def refused(done):
    """The message of a run that ended with status 2 and one line on stderr."""
    assert done.returncode == 2, done
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr
    assert done.stdout == ""
    return done.stderr


def sketch(**changes):
    return {"sketches": [circle(20).to_dict() | changes]}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sketches": [], "description": ""}, ["neither a sketch nor a description", "Draw an outline"]),
        ({"sketches": [], "description": "something nice"}, ["names no structure", "mandible"]),
        (sketch(strokes=[]), ["no strokes"]),
        (sketch(strokes=[[[0, 0, 0]]]), ["stroke 1", "1 point(s)", "too short"]),
        (sketch(strokes=[[[9e9, 0, 0], [9e9, 9, 0], [9e9, 9, 9]]], plane=np.eye(4).tolist()), ["outside every frame", "mm"]),
        (sketch(strokes=[[[0, 0, 0], [float("nan"), 5, 0], [5, 5, 0]]]), ["not a number"]),
        (sketch(structure="mandibel"), ["Unknown structure 'mandibel'", "Did you mean 'mandible'?"]),
        (sketch(structure="larynx"), ["cannot make the structure 'larynx'", "It makes: brainstem"]),
        ({"description": "mandible " * 12_000}, ["108000 characters", "4000"]),
        ({"bundle": "abdomen"}, ["no bundle 'abdomen'", "headneck"]),
        ({"device": "cuda:7"}, ["cuda:7", "--device cpu"]),
        ({"steps": 0}, ["'steps'"]),
        ({"colour": "red"}, ["unknown keys: colour"]),
        ({"context": "none.nii.gz"}, ["no file", "none.nii.gz"]),
    ],
)
def test_a_bad_request_is_refused_in_one_line(generate, changes, words):
    message = generate(**changes)
    assert all(word in message for word in words), message


def test_strokes_outside_the_given_grid_are_refused(generate):
    grid = Grid.centred((500, 0, 0), (2, 2, 2), (40, 40, 40)).to_dict()
    assert "lies outside the frame, 440 mm away" in generate(grid=grid)


@pytest.fixture
def context(tmp_path):
    """A small label map on disk."""
    grid = Grid.centred((0, 0, 0), (3, 3, 3), (30, 30, 30))
    array = np.zeros(grid.shape, np.uint8)
    array[20:25, 20:25, 20:25] = np.random.default_rng(0).integers(1, 3, (5, 5, 5))
    write_nifti(tmp_path / "kept.nii.gz", array, grid)
    return tmp_path / "kept.nii.gz"


def test_a_context_on_another_grid_is_refused(generate, context):
    grid = Grid.centred((0, 0, 0), (3, 3, 3), (31, 30, 30)).to_dict()
    message = generate(context="kept.nii.gz", grid=grid)
    assert "on another grid (30 x 30 x 30" in message and "Resample the context" in message


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_truncated_image_is_refused(generate, context, share):
    data = context.read_bytes()
    context.write_bytes(data[: int(len(data) * share)])
    assert "Cannot read kept.nii.gz" in generate(context="kept.nii.gz")


def test_weights_with_one_byte_changed_are_refused(generate, tmp_path):
    weights = make_bundle(tmp_path / "shelf") / "models" / "mask.safetensors"
    data = bytearray(weights.read_bytes())
    data[17] ^= 4
    weights.write_bytes(data)
    message = generate(bundles=tmp_path / "shelf")
    assert "mask.safetensors is damaged" in message and "Install the bundle again" in message


@pytest.fixture
def mounted(tmp_path):
    """Mounts a small file system; skips where that is not allowed."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options):
        line = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder]
        done = subprocess.run(line, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"cannot mount a file system here: {done.stderr.strip()}")
        return folder

    yield mount
    subprocess.run(["umount", folder], capture_output=True)


def test_a_full_disk_is_refused(generate, mounted):
    folder = mounted("size=64k")
    message = generate(folder / "deep" / "result")
    assert "the disk is full" in message and "Free some space" in message and not list(folder.iterdir())


def test_a_read_only_disk_is_refused(generate, mounted):
    assert "read-only" in generate(mounted("size=64k,ro") / "result")


def test_a_folder_below_a_file_is_refused(generate, tmp_path):
    (tmp_path / "file").write_text("")
    assert "a part of that path is a file" in generate(tmp_path / "file" / "result")


def test_an_unwritable_folder_is_refused(generate, tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere; the read-only disk covers this")
    (tmp_path / "locked").mkdir(mode=0o500)
    assert "permission was denied" in generate(tmp_path / "locked" / "result")


def test_a_folder_of_other_things_is_not_replaced(generate, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("x")
    assert "--replace" in generate(tmp_path / "mine")
    assert "notes.txt" in generate(tmp_path / "mine", None, "--replace")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["generate", "none.json", "--out", "o"], ["Cannot read the request file none.json"]),
        (["generate"], ["Missing argument"]),
        (["generate", "r.json", "--out", "o", "--bogus"], ["--bogus"]),
        (["generate", "r.json", "--out", "o", "--steps", "many"], ["--steps"]),
        (["serve"], ["No such command 'serve'"]),
        (["describe", "none.nii.gz", "--structure", "mandible"], ["no file none.nii.gz"]),
        (["sketch", "kept.nii.gz", "--structure", "mandibel", "--out", "r.json"], ["Did you mean 'mandible'"]),
        (["sketch", "kept.nii.gz", "--structure", "mandible", "--out", "r.json"], ["no voxel of 'mandible'", "brainstem"]),
        (["sketch", "kept.nii.gz", "--structure", "brainstem", "--plane", "up", "--out", "r.json"], ["axial, coronal"]),
        (["sketch", "kept.nii.gz", "--structure", "brainstem", "--out", "no/folder/r.json"], ["Cannot write"]),
        (["bundles", "verify", "none"], ["no bundle 'none'"]),
        (["bundles", "install", "none.zip"], ["no file none.zip"]),
    ],
)
def test_every_command_refuses_bad_input_in_one_line(command, context, arguments, words):
    message = refused(command(*arguments))
    assert all(word in message for word in words), message


def test_a_sketch_of_a_mask_is_a_request_that_can_be_read(command, tmp_path):
    grid = Grid.centred((5, 6, 7), (2, 2, 2), (40, 40, 40))
    ball = (((grid.voxel_centres() - (5, 6, 7)) ** 2).sum(-1) <= 20**2).astype(np.uint8) * 3
    (tmp_path / "labels").mkdir()
    write_nifti(tmp_path / "labels" / "case.nii.gz", ball, grid)
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "mandible": 3}}))
    done = command("sketch", "labels/case.nii.gz", "--structure", "jaw", "--plane", "coronal", "--out", "r.json")
    assert done.returncode == 0 and done.stdout.strip() == "r.json", done
    drawn = GenerationRequest.read(tmp_path / "r.json")
    (outline,) = drawn.sketches
    assert outline.plane.orientation == "coronal" and "mandible" in drawn.description.lower()
    distance = np.linalg.norm(outline.points() - (5, 6, 7), axis=1)
    assert distance.min() > 18.5 and distance.max() < 21.5
    said = json.loads(command("describe", "labels/case.nii.gz", "--structure", "mandible").stdout)
    assert abs(said["facts"]["volume_ml"] - 33.5) < 1 and len(said["sentences"]) >= 1


def test_the_doctor_says_what_is_missing(command, tmp_path):
    done = command("doctor")
    assert "torch" in done.stdout and "bundle headneck" in done.stdout and done.returncode in (0, 1)
    assert (done.returncode == 1) == ("MISSING" in done.stdout)


def test_bundles_are_listed_and_verified(command):
    assert "headneck" in command("bundles", "list").stdout
    assert "verified" in command("bundles", "verify", "headneck").stdout
