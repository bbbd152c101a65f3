"""A run over a cohort folder: what it leaves, how it goes on, what stops it."""

import json
import os
import platform
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from cohort_kit import FRAME, Heard, QuickEngine, make, stable_bytes, wanted, write_spec
from fake_backend import circle, engine, make_bundle
from sketch2ct import results
from sketch2ct.anatomy import vocabulary
from sketch2ct.cohort.folder import Cohort
from sketch2ct.cohort.lock import LOCK, locked
from sketch2ct.cohort.reporting import Lines, Tally, duration
from sketch2ct.cohort.runner import run
from sketch2ct.cohort.thumb import thumb
from sketch2ct.errors import BadRequest, BundleCorrupt, BundleMissing, Cancelled, OutOfMemory, Sketch2CTError, WriteFailed
from sketch2ct.geometry import Grid
from sketch2ct.imaging import CTVolume, LabelVolume
from sketch2ct.request import GenerationRequest

CASE_FILES = {"labels.nii.gz", "labels.json", "ct.nii.gz", "request.json", "manifest.json", "case.json", "thumb.png"}


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shelf")
    make_bundle(folder, frame=FRAME)
    return folder


@pytest.fixture(autouse=True)
def _shelf(shelf, monkeypatch):
    monkeypatch.setenv("SKETCH2CT_BUNDLES", str(shelf))


@pytest.fixture
def spec(tmp_path):
    """Writes a spec around a base request; its path."""

    def write(**keys):
        GenerationRequest([circle(30)], "a mandible", device="cpu").write(tmp_path / "base.json")
        return write_spec(tmp_path / "spec.yaml", **({"request": "base.json", "count": 4, "vary": {"hand": [0.5, 1]}} | keys))

    return write


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def names(out):
    return [case.name for case in Cohort.open(out).cases()]


def test_a_run_makes_every_case_whole(spec, out):
    heard = Heard()
    tally = make(spec(), out, heard=heard)
    assert (tally.done, tally.total, tally.failed, tally.made) == (4, 4, 0, 4)
    assert sorted(p.name for p in out.iterdir()) == ["cases", "cohort.json", "failed"]
    for name in names(out):
        assert {p.name for p in (out / "cases" / name).iterdir()} == CASE_FILES
    assert list(heard.verdicts) == names(out) and heard.stopped == ""
    assert len({case.request().seed for case in Cohort.open(out).cases()}) == 4


def test_the_engine_of_the_package_serves_as_well(spec, out, shelf):
    tally = run(wanted(spec(count=1), out), lambda: engine(shelf), Heard(), threading.Event())
    case = Cohort.open(out).case("case-00001")
    assert tally.done == 1 and set(case.manifest()["seconds"]) == {"load", "mask", "volume", "write"}
    assert not list((out / "cases").glob(".*"))


def test_a_complete_cohort_needs_no_engine(spec, out):
    make(spec(), out)
    before = stable_bytes(out)

    def none():
        raise AssertionError("an engine was started")

    assert run(wanted(spec(), out), none, Heard(), threading.Event()).done == 4
    assert stable_bytes(out) == before


def test_masks_alone_have_neither_ct_nor_an_empty_picture(spec, out):
    make(spec(count=1, mask_only=True), out)
    case = Cohort.open(out).case("case-00001")
    assert not case.ct_path.exists() and case.request().volume_generator == "none" and case.thumb_path.is_file()


def test_the_gate_is_written_beside_the_case(spec, out):
    make(spec(count=1, gates={"hu_beyond": {"flag": 0, "reject": False}}), out)
    case = Cohort.open(out).case("case-00001")
    quality = case.manifest()["quality"]["structures"]["mandible"]
    rank = quality["volume_percentile"]
    assert case.gate == ("reject" if rank >= 99.5 else "flag" if rank >= 97.5 else "pass")
    lenient = out.with_name("lenient")
    make(spec(count=1, gates=False), lenient)
    assert Cohort.open(lenient).case("case-00001").gate == "pass"
    strict = out.with_name("strict")
    make(spec(count=1, gates={"sketch_dice": {"reject": 0.9999}}), strict)
    assert Cohort.open(strict).case("case-00001").gate == "reject"
    assert "agree by a Dice of" in Cohort.open(strict).case("case-00001").reasons[0]


def test_a_failed_case_is_tried_once_more_at_the_end(spec, out):
    fake = QuickEngine(faults={"case-00002": [ValueError("a bad moment")]})
    heard = Heard()
    tally = make(spec(), out, fake, heard)
    assert fake.calls == ["case-00001", "case-00002", "case-00003", "case-00004", "case-00002"]
    assert (tally.done, tally.failed) == (4, 0) and not list((out / "failed").iterdir())
    assert [item["attempts"] for item in heard.failures] == [1]
    assert heard.failures[0]["message"] == "ValueError: a bad moment" and heard.failures[0]["code"] == "internal"


def test_a_case_that_fails_twice_is_listed_and_skipped_until_asked_for(spec, out):
    wrong = [BadRequest("The sketch lies outside the frame.", "Draw inside."), BadRequest("Still outside.", "Draw inside.")]
    tally = make(spec(), out, QuickEngine(faults={"case-00002": wrong}))
    assert (tally.done, tally.failed) == (3, 1)
    (listed,) = Cohort.open(out).failed()
    kept = {key: listed[key] for key in ("case", "attempts", "code", "message", "hint")}
    assert kept == {**{"case": "case-00002", "attempts": 2, "code": "bad_request"}, "message": "Still outside.", "hint": "Draw inside."}
    fake = QuickEngine()
    assert make(spec(), out, fake).failed == 1 and fake.calls == []
    assert make(spec(), out, fake, retry_failed=True).failed == 0 and fake.calls == ["case-00002"]
    assert Cohort.open(out).failed() == [] and len(names(out)) == 4


def test_a_run_whose_every_case_fails_ends_early(spec, out):
    fake = QuickEngine(faults={f"case-{n:05d}": [ValueError("no such device")] * 2 for n in range(1, 41)})
    with pytest.raises(Sketch2CTError, match="The first 10 cases failed, the last with: ValueError: no such device"):
        make(spec(count=40), out, fake)
    assert len(fake.calls) == 10


@pytest.mark.parametrize(
    "error",
    [
        OutOfMemory("The memory of CPU is too small.", "Use a smaller frame."),
        WriteFailed("Cannot write: the disk is full.", "Free some space."),
        BundleMissing("There is no bundle.", "Install it."),
        BundleCorrupt("A file is damaged.", "Install it again."),
    ],
)
def test_what_every_case_would_meet_ends_the_run_with_what_to_do(spec, out, error):
    fake, heard = QuickEngine(faults={"case-00003": [error]}), Heard()
    with pytest.raises(type(error)) as caught:
        make(spec(), out, fake, heard)
    assert error.message in str(caught.value) and "the same command goes on from there" in str(caught.value)
    assert names(out) == ["case-00001", "case-00002"] and Cohort.open(out).failed() == []
    assert heard.stopped == error.message
    assert make(spec(), out).done == 4


def test_a_cancelled_run_stops_at_the_next_step_and_keeps_what_is_complete(spec, out):
    cancel = threading.Event()
    heard = Heard(lambda name: name == "case-00002" and cancel.set())
    with pytest.raises(Cancelled, match="2 of 4 cases complete"):
        run(wanted(spec(), out), QuickEngine, heard, cancel)
    assert names(out) == ["case-00001", "case-00002"] and not (out / ".work").exists() and heard.stopped == "cancelled"
    press = threading.Timer(0.3, cancel.set)
    cancel.clear()
    press.start()
    start = time.monotonic()
    with pytest.raises(Cancelled):
        run(wanted(spec(), out), lambda: QuickEngine(seconds=4), Heard(), cancel)
    assert time.monotonic() - start < 3 and names(out) == ["case-00001", "case-00002"]


def test_limits_stop_a_run_which_then_goes_on(spec, out):
    heard = Heard()
    assert make(spec(stop={"cases": 3}), out, heard=heard).done == 3
    assert heard.stopped == "3 cases are complete, as 'stop' asks"
    one_case = sum(p.stat().st_size for p in (out / "cases" / "case-00001").iterdir())
    heard = Heard()
    make(spec(count=6, stop={"gigabytes": 1.5 * one_case / 1e9}), out.with_name("small"), heard=heard)
    assert len(names(out.with_name("small"))) == 2 and "GB, as 'stop' asks" in heard.stopped
    heard = Heard()
    make(spec(stop={"minutes": 0}), out, heard=heard)
    assert len(names(out)) == 3 and heard.stopped == "0 minutes are over, as 'stop' asks"
    assert make(spec(), out, heard=heard).done == 4 and heard.stopped == ""


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"count": 5}, "'count' was 4 and is 5 now"),
        ({"vary": {"hand": [0.5, 2]}}, "'vary' was"),
        ({"seed": 1}, "'seed' was 0 and is 1 now"),
        ({"gates": False}, "'gates' was"),
        ({"request": None, "structures": ["mandible"]}, "'structures' was null and is"),
    ],
)
def test_another_spec_in_the_same_folder_is_refused_with_the_difference(spec, out, changes, words):
    make(spec(), out)
    before = stable_bytes(out)
    with pytest.raises(BadRequest) as caught:
        make(spec(**changes), out)
    assert "was made from another spec" in str(caught.value) and words in str(caught.value)
    assert stable_bytes(out) == before


def test_another_base_request_of_the_same_name_is_refused(spec, out, tmp_path):
    make(spec(), out)
    file = spec()
    GenerationRequest([circle(31)], "a mandible").write(tmp_path / "base.json")
    with pytest.raises(BadRequest, match="was made from other sources"):
        make(file, out)


def test_another_bundle_of_the_same_name_is_refused(spec, out, tmp_path, monkeypatch):
    make(spec(), out)
    make_bundle(tmp_path / "newer", frame=FRAME, training={"cases": 3})
    monkeypatch.setenv("SKETCH2CT_BUNDLES", str(tmp_path / "newer"))
    with pytest.raises(BadRequest, match="was made with the bundle 'headneck'"):
        make(spec(), out)


def test_a_moved_spec_goes_on(spec, out, tmp_path):
    make(spec(stop={"cases": 2}), out)
    moved = shutil.copytree(tmp_path, tmp_path.with_name(tmp_path.name + "-moved"), ignore=shutil.ignore_patterns("out"))
    assert make(moved / "spec.yaml", out).total == 4


def test_a_corrupt_case_is_made_again_the_same(spec, out):
    make(spec(), out)
    before = stable_bytes(out)
    (out / "cases" / "case-00002" / "case.json").write_text("{")
    (out / "cases" / "case-00003" / "ct.nii.gz").unlink()
    (out / "cases" / "case-00003" / "labels.nii.gz").write_bytes(b"")
    fake, heard = QuickEngine(), Heard()
    assert make(spec(), out, fake, heard).done == 4
    assert fake.calls == ["case-00002", "case-00003"] and stable_bytes(out) == before
    assert len(heard.notes) == 2 and "case-00002 is damaged" in heard.notes[0] and "made again" in heard.notes[0]


def test_half_made_things_are_swept(spec, out):
    make(spec(stop={"cases": 2}), out)
    (out / ".work" / "case-00003").mkdir(parents=True)
    (out / ".work" / "case-00003" / "labels.nii.gz").write_bytes(b"half")
    assert make(spec(), out).done == 4 and not (out / ".work").exists()


def test_a_failure_noted_before_a_success_that_was_cut_off_is_forgotten(spec, out):
    make(spec(), out)
    (out / "failed" / "case-00001.json").write_text('{"case": "case-00001", "attempts": 1}')
    assert make(spec(), out).failed == 0 and not list((out / "failed").iterdir())


def test_two_runners_cannot_share_a_folder(spec, out):
    make(spec(stop={"cases": 1}), out)
    lines = ("import sys, pathlib", "from sketch2ct.cohort.lock import locked", "with locked(pathlib.Path(sys.argv[1])):")
    program = "\n".join((*lines, "    print('held', flush=True)", "    input()"))
    with subprocess.Popen([sys.executable, "-c", program, out], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(BadRequest, match=rf"Another run is at work in .* \(process {other.pid} on "):
            make(spec(), out)
        other.kill()
        other.wait()
        assert (out / LOCK).is_file()
        assert make(spec(), out).done == 4  # its lock is stale now
    assert not list(out.glob(".lock*"))


@pytest.mark.parametrize(
    "left", ["", "{", '{"host": "HERE", "process": 4194303, "start": "1"}', '{"host": "HERE", "process": 1, "start": "another"}']
)
def test_a_stale_or_broken_lock_is_taken_over(tmp_path, left):
    (tmp_path / LOCK).write_text(left.replace("HERE", platform.node()))
    with locked(tmp_path):
        assert json.loads((tmp_path / LOCK).read_text())["process"] == os.getpid()
    assert not list(tmp_path.iterdir())


def test_a_lock_of_another_machine_is_left_alone(tmp_path):
    (tmp_path / LOCK).write_text('{"host": "elsewhere", "process": 1, "start": "1", "since": "today"}')
    with pytest.raises(BadRequest, match=r"if there is none, remove .*\.lock"), locked(tmp_path):
        raise AssertionError("the lock was taken")
    assert "elsewhere" in (tmp_path / LOCK).read_text()


@pytest.fixture
def mounted(tmp_path):
    """Mounts a small file system; skips where that is not allowed."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options, again=False):
        line = ["mount", "-o", f"remount,{options}", folder] if again else ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder]
        done = subprocess.run(line, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"cannot mount a file system here: {done.stderr.strip()}")
        return folder

    yield mount
    subprocess.run(["umount", folder], capture_output=True)


def test_a_disk_that_fills_up_stops_the_run_and_loses_nothing(spec, mounted, monkeypatch):
    out = mounted("size=300k") / "out"
    monkeypatch.setattr(results, "_check_space", lambda *_: None)  # as when others fill the disk meanwhile
    with pytest.raises(WriteFailed, match="the disk is full"):
        make(spec(count=30), out)
    kept = stable_bytes(out)
    whole = names(out)
    assert 1 <= len(whole) < 30 and Cohort.open(out).damaged() == {}
    assert all(nib.load(out / "cases" / name / "ct.nii.gz").get_fdata().shape == (32, 32, 28) for name in whole)
    mounted("size=20m", again=True)
    assert make(spec(count=30), out).done == 30
    assert {key: value for key, value in stable_bytes(out).items() if key in kept} == kept


def test_a_disk_too_small_for_a_case_is_refused_as_full(spec, mounted):
    with pytest.raises(WriteFailed, match="the disk is full"):
        make(spec(), mounted("size=1m") / "out")


def test_a_read_only_folder_is_refused(spec, mounted):
    out = mounted("size=4m") / "out"
    make(spec(stop={"cases": 1}), out)
    mounted("ro", again=True)
    with pytest.raises(WriteFailed, match="the file system is read-only"):
        make(spec(), out)
    assert names(out) == ["case-00001"]


def test_a_folder_with_other_things_is_refused(spec, out):
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")
    with pytest.raises(BadRequest, match=r"holds other things than a cohort \(thesis\.txt\)"):
        make(spec(), out)
    assert [p.name for p in out.iterdir()] == ["thesis.txt"]
    file = out.with_name("file")
    file.write_text("")
    with pytest.raises(BadRequest, match="is a file"):
        make(spec(), file)


def test_a_wrong_bundle_in_a_result_ends_the_run(spec, out):
    class Other(QuickEngine):
        def generate(self, request, out, progress=None, *, replace=False):
            made = super().generate(request, out, progress, replace=replace)
            manifest = json.loads((out / "manifest.json").read_text())
            (out / "manifest.json").write_text(json.dumps(manifest | {"bundle_hash": "0" * 64}))
            return made

    with pytest.raises(BundleCorrupt, match="changed while the cohort was made"):
        make(spec(), out, Other())
    assert names(out) == []


def test_a_picture_shows_the_mask_at_its_place():
    grid = Grid.centred((10, -20, 30), (2, 2, 2), (64, 60, 56))
    ras = grid.voxel_centres()
    # A block 24 mm wide and 16 mm high whose patient-right half is dense.
    block = (np.abs(ras - [10, -20, 30]) < [12, 12, 8]).all(-1)
    hu = np.where(block & (ras[..., 0] > 10), 300, 0) - np.where(ras[..., 2] > 44, 900, 0)
    labels = LabelVolume(block.astype(np.uint8), grid, {1: "mandible"})
    picture = thumb(labels, CTVolume(hu.astype(np.int16), grid), "mandible")
    assert picture.shape == (128, 384, 3) and picture.dtype == np.uint8
    axial, coronal, sagittal = (picture[:, 128 * n : 128 * (n + 1)].astype(int) for n in range(3))
    assert axial[64, 50].sum() > axial[64, 78].sum()  # the patient's right is on the left
    assert coronal[10, 64].sum() < coronal[118, 64].sum()  # air above: superior is up
    colour = vocabulary()["mandible"].color
    for view, wide, high in ((axial, 24, 24), (coronal, 24, 16), (sagittal, 24, 16)):
        on = (view == colour).all(-1)
        rows, columns = np.flatnonzero(on.any(1)), np.flatnonzero(on.any(0))
        mm = 60 / 127
        assert np.ptp(columns) * mm == pytest.approx(wide, abs=2.2) and np.ptp(rows) * mm == pytest.approx(high, abs=2.2)
        assert rows.mean() == pytest.approx(63.5, abs=3) and columns.mean() == pytest.approx(63.5, abs=3)
        assert not on[64, 64]


def test_an_empty_structure_still_has_a_picture():
    grid = Grid.centred((0, 0, 0), (3, 3, 3), (20, 20, 20))
    picture = thumb(LabelVolume(np.zeros(grid.shape, np.uint8), grid, {1: "mandible"}), None, "mandible")
    assert picture.shape == (128, 384, 3) and not picture.any()


def test_lines_tell_the_rate_the_rest_and_the_sum(capsys):
    tally = Tally(50, done=10, failed=1)
    tally._start -= 100
    lines = Lines()
    lines.start(tally, Path("out"))
    tally.count("flag")
    lines.case(tally, "case-00012", "base.json", "flag", ["The mandible is small."])
    lines.done(tally, "cancelled")
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "out: 10 of 50 cases complete, 1 failed."
    assert said[1].startswith("11/50 case-00012 flag, 1 h 3 min left The mandible is small.")
    assert (
        said[2]
        == "11 of 50 cases complete, 1 failed; this run made 1 (1 flagged, 0 rejected) in 1 min 40 s, 36 an hour. Stopped: cancelled."
    )
    assert [duration(s) for s in (None, 59, 60, 3725)] == ["0 s", "59 s", "1 min 0 s", "1 h 2 min"]
