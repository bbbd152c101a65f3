"""The backend's process, with a fake worker that fails in every way: states, cancel, crashes, late events, nothing left behind."""

import json
import os
import re
import shutil
import sys
import time
from pathlib import Path

import pytest

from backend_listener import FAKE, Listener, alive, environment, light, spin
from sketch2ct.request import GenerationRequest


@pytest.fixture
def make(slicer_qt):
    """Makes a BackendProcess around a child, and its Listener; stops them all in the end, and nothing survives."""
    from Sketch2CTModuleLib.BackendLimits import BackendLimits
    from Sketch2CTModuleLib.BackendProcess import BackendProcess
    from Sketch2CTModuleLib.ChildProcess import ChildProcess

    made = []

    def build(child=None, **limits):
        backend = BackendProcess(child or light(), BackendLimits(**limits))
        made.append(backend)
        return Listener(backend)

    yield build
    for backend in made:
        backend.stop()
    assert spin(lambda: not ChildProcess._alive, 10)


@pytest.fixture
def slicer_qt(tmp_path):
    from headless_slicer import bootstrap

    folder = tmp_path / "slicer-temporary"
    folder.mkdir()
    app = bootstrap(folder, qt=True)
    yield app
    app.close()


def request(*words, **changes):
    return GenerationRequest(description=" ".join(("a mandible", *words)), **changes).to_dict()


def leftovers(folder):
    return [path.name for path in folder.iterdir() if path.name not in ("slicer-temporary", "out")]


def test_a_job_goes_from_stopped_to_its_result(make, tmp_path):
    seen = make()
    job = seen.backend.generate(request("größer 下顎"), tmp_path / "out")
    assert job == 1 and seen.backend.state == "starting" and seen.backend.busy
    assert spin(lambda: seen.of("finished"))
    (folder, samples) = seen.of("finished")[0]
    assert folder == str(tmp_path / "out") and samples == [folder] and (tmp_path / "out" / "ct.nii.gz").is_file()
    assert seen.of("stateChanged") == ["starting", "ready", "busy", "ready"] and not seen.backend.busy
    (info,) = seen.of("ready")
    assert info["devices"][0]["name"] == "cpu" and seen.backend.info is info and alive(seen.backend.pid)
    steps = seen.of("progress")
    assert [step[0] for step in steps if step[1] == step[2]] == ["load", "mask", "volume", "write"]
    assert [step[3] for step in steps] == sorted(step[3] for step in steps) and steps[-1][3] == 1.0
    written = json.loads((tmp_path / "out" / "request.json").read_text(encoding="utf-8"))
    assert written["description"] == "a mandible größer 下顎"
    kinds = [name for name, _ in seen.events if name not in ("log", "stateChanged", "ready")]
    assert kinds[-1] == "finished" and set(kinds[:-1]) == {"progress"}


def test_the_second_job_uses_the_same_worker(make, tmp_path):
    seen = make()
    pids = set()
    for n in range(3):
        assert seen.backend.generate(request(), tmp_path / str(n)) == n + 1
        assert seen.outcome()[0] == "finished"
        pids.add(seen.backend.pid)
    assert len(pids) == 1


def test_a_job_more_is_refused_while_one_is_open(make, tmp_path):
    from Sketch2CTModuleLib.BackendError import BackendError

    seen = make(light(2))
    for _ in ("starting", "busy"):
        if not seen.backend.busy:
            seen.backend.generate(request(), tmp_path / "out")
        with pytest.raises(BackendError, match="running already"):
            seen.backend.generate(request(), tmp_path / "other")
        seen.until("busy")
    seen.backend.cancel()
    assert seen.error().code == "cancelled"


def test_the_worker_s_own_errors_come_through_and_it_lives_on(make, tmp_path):
    seen = make()
    for words, code, text in (
        (("fault=oom",), "out_of_memory", "too small"),
        (("fault=bug",), "internal", "ZeroDivisionError"),
    ):
        seen.backend.generate(request(*words), tmp_path / "out")
        error = seen.error()
        assert error.code == code and text in error.message and error.hint
    seen.backend.generate({"description": ""}, tmp_path / "out")
    assert seen.error().code == "bad_request"
    assert seen.backend.state == "ready" and not leftovers(tmp_path)
    assert "ZeroDivisionError" in seen.backend.logText()


@pytest.mark.parametrize("stage", ["load", "mask", "volume", "write"])
def test_a_worker_killed_at_any_stage_is_told_as_lack_of_memory_and_the_next_run_works(make, tmp_path, stage):
    seen = make()
    seen.backend.generate(request(f"fault=sigkill@{stage}"), tmp_path / "out")
    error = seen.error()
    assert error.code == "out_of_memory" and "memory" in error.message and "smaller frame" in error.hint
    assert seen.backend.state == "stopped" and not leftovers(tmp_path)
    seen.backend.generate(request(), tmp_path / "out")
    assert seen.outcome()[0] == "finished"


@pytest.mark.parametrize(
    ("fault", "match"),
    [
        ("exit3", r"unexpectedly \(exit code 3\): Fatal: the disk vanished"),
        ("exit0", "before the result was there"),
        ("sigsegv", r"unexpectedly \(signal SIGSEGV\)"),
    ],
)
def test_a_crash_says_how_it_ended_and_the_next_run_works(make, tmp_path, fault, match):
    seen = make()
    seen.backend.generate(request(f"fault={fault}"), tmp_path / "out")
    error = seen.error()
    assert error.code == "crashed" and re.search(match, error.message) and "log" in error.hint
    assert not leftovers(tmp_path)
    seen.backend.generate(request(), tmp_path / "out")
    assert seen.outcome()[0] == "finished"


@pytest.mark.parametrize(
    ("fault", "match"),
    [
        ("no-manifest", "no readable manifest.json"),
        ("unmarked", "does not say that the result is synthetic"),
        ("no-samples", "without samples"),
    ],
)
def test_a_result_counts_only_with_its_manifest(make, tmp_path, fault, match):
    seen = make()
    seen.backend.generate(request(f"fault={fault}"), tmp_path / "out")
    error = seen.error()
    assert error.code == "internal" and match in error.message


@pytest.mark.parametrize(
    ("fault", "limits", "match"),
    [
        ("exit3", {}, "exit code 3"),
        ("import", {}, "lacks a package .*a_package_that_nobody_has"),
        ("silent", {"startMs": 1000}, "within 1 s"),
        ("old", {}, "version 0 of the protocol, and the module version 1"),
        ("sigkill", {}, "SIGKILL"),
    ],
)
def test_a_worker_that_does_not_get_ready_is_told(make, tmp_path, fault, limits, match):
    seen = make(light(0, fault), **limits)
    seen.backend.generate(request(), tmp_path / "out")
    error = seen.error()
    assert error.code == "not_started" and re.search(match, error.message) and "environment" in error.hint.lower()
    assert seen.backend.state == "stopped" and not seen.backend.busy


def test_a_python_that_is_not_there_is_told_without_a_job_too(make):
    from Sketch2CTModuleLib.ChildProcess import ChildProcess

    seen = make(lambda: ChildProcess("/nowhere/at all/python", []))
    seen.backend.start()
    error = seen.error()
    assert error.code == "not_started" and "/nowhere/at all/python" in error.message


@pytest.mark.parametrize("stage", ["load", "mask", "volume", "write"])
def test_cancel_at_any_stage_leaves_the_worker_warm_and_nothing_behind(make, tmp_path, stage):
    seen = make(light(4))
    seen.backend.generate(request(), tmp_path / "out")
    assert spin(lambda: any(step[0] == stage for step in seen.of("progress")))
    pid, begin = seen.backend.pid, time.monotonic()
    seen.events.clear()
    seen.backend.cancel()
    assert seen.backend.state == "cancelling"
    assert spin(lambda: seen.backend.state == "ready") and time.monotonic() - begin < 1
    assert seen.error().code == "cancelled" and seen.of("progress") == []
    assert seen.backend.pid == pid and not leftovers(tmp_path) and not (tmp_path / "out").exists()


def test_a_worker_that_does_not_listen_is_ended_with_all_that_it_started(make, tmp_path):
    seen = make(light(1), cancelMs=400, terminateMs=200)
    seen.backend.generate(request("fault=deaf"), tmp_path / "out")
    assert spin(lambda: "child" in seen.backend.logText())
    child, pid = int(re.search(r"child (\d+)", seen.backend.logText())[1]), seen.backend.pid
    begin = time.monotonic()
    seen.backend.cancel()
    assert seen.error().code == "cancelled" and time.monotonic() - begin < 2
    assert seen.backend.state == "stopped" and not alive(pid) and spin(lambda: not alive(child), 1)
    assert not leftovers(tmp_path)
    seen.backend.generate(request(), tmp_path / "out")
    assert seen.outcome()[0] == "finished" and seen.backend.pid != pid


def test_a_job_asked_for_during_a_cancel_runs_after_it(make, tmp_path):
    seen = make(light(2), cancelMs=400, terminateMs=200)
    for words in ((), ("fault=deaf",)):
        seen.backend.generate(request(*words), tmp_path / "out")
        assert spin(lambda: any(step[0] == "load" and step[1] == step[2] for step in seen.of("progress")))
        seen.backend.cancel()
        seen.backend.generate(request(), tmp_path / "next")
        assert seen.error().code == "cancelled"
        assert seen.outcome()[0] == "finished" and not leftovers(tmp_path).count("out")
        shutil.rmtree(tmp_path / "next")


def test_cancel_before_the_worker_is_ready_is_at_once(make, tmp_path):
    seen = make()
    seen.backend.generate(request(), tmp_path / "out")
    seen.backend.cancel()
    assert seen.error().code == "cancelled" and not seen.backend.busy
    seen.until("ready")
    time.sleep(0.2)
    assert spin(lambda: True) and not (tmp_path / "out").exists()


def test_a_result_that_comes_after_the_cancel_is_dropped(make, tmp_path):
    seen = make()
    seen.backend.generate(request(), tmp_path / "out")
    assert spin(lambda: seen.of("progress"))
    deadline = time.monotonic() + 10
    while not (tmp_path / "out").exists() and time.monotonic() < deadline:
        time.sleep(0.01)  # without the event loop: the result waits in the pipe
    seen.events.clear()
    if seen.backend.state == "busy":
        seen.backend.cancel()
        assert seen.error().code == "cancelled" and not (tmp_path / "out").exists()


def test_garbage_in_the_protocol_goes_to_the_log(make, tmp_path):
    seen = make()
    seen.backend.generate(request("fault=garbage"), tmp_path / "out")
    assert seen.outcome()[0] == "finished"
    assert "stray" in seen.backend.logText() and "\ufffd" in seen.backend.logText() and '"no": "type"' in seen.backend.logText()


def test_a_flood_of_text_comes_in_few_batches_and_its_end_is_kept(make, tmp_path):
    seen = make()
    seen.backend.generate(request("fault=flood"), tmp_path / "out")
    assert spin(lambda: seen.of("finished") and sum(text.count("x") for text in seen.of("log")) == 99 * 30_000)
    assert len(seen.of("log")) < 40 and len(seen.backend.logText()) == 2**20
    assert "ü" * 99 in "".join(seen.of("log")) and seen.backend.logText().endswith("x" * 99 + "\n")


def test_stop_during_a_job_cancels_it_and_ends_the_worker(make, tmp_path):
    seen = make(light(10))
    seen.backend.generate(request(), tmp_path / "out")
    assert spin(lambda: seen.of("progress"))
    pid = seen.backend.pid
    seen.events.clear()
    begin = time.monotonic()
    seen.backend.stop()
    assert time.monotonic() - begin < 0.1 and seen.backend.state == "stopped"
    assert seen.error().code == "cancelled"
    assert spin(lambda: not alive(pid), 5) and not leftovers(tmp_path)
    assert [name for name, _ in seen.events if name != "log"] == []


def test_the_application_s_end_ends_the_worker_at_once(make, tmp_path, slicer_qt):
    seen = make()
    seen.backend.generate(request("fault=deaf"), tmp_path / "out")
    assert spin(lambda: "child" in seen.backend.logText())
    child, pid = int(re.search(r"child (\d+)", seen.backend.logText())[1]), seen.backend.pid
    begin = time.monotonic()
    slicer_qt.app.emit("aboutToQuit()")
    assert time.monotonic() - begin < 3 and not alive(pid)
    while alive(child) and time.monotonic() - begin < 3:  # killed, but the kernel takes its time; nothing of ours runs any more
        time.sleep(0.01)
    assert not alive(child)


def test_an_idle_worker_is_stopped_and_comes_back(make, tmp_path):
    seen = make(light(), idleMs=300)
    seen.backend.generate(request(), tmp_path / "one")
    assert seen.outcome()[0] == "finished"
    pid = seen.backend.pid
    seen.until("stopped")
    assert spin(lambda: not alive(pid), 5) and seen.of("failed") == []
    seen.backend.generate(request(), tmp_path / "two")
    assert seen.outcome()[0] == "finished"


def test_a_worker_that_dies_idle_fails_nothing(make, tmp_path):
    seen = make()
    seen.backend.start()
    seen.until("ready")
    os.kill(seen.backend.pid, 9)
    seen.until("stopped")
    assert seen.of("failed") == []
    seen.backend.generate(request(), tmp_path / "out")
    assert seen.outcome()[0] == "finished"


def test_a_listener_may_start_the_next_job_or_run_an_event_loop_of_its_own(make, tmp_path):
    seen = make()
    inner = []

    def on_failed(error):
        seen.backend.generate(request(), tmp_path / "out")
        inner.append(spin(lambda: seen.of("finished"), 20))  # as a modal dialog does

    seen.backend.failed.connect(on_failed)
    seen.backend.generate(request("fault=oom"), tmp_path / "out")
    assert spin(lambda: inner) and inner == [True]


def test_programs_and_folders_with_spaces_and_foreign_letters(make, tmp_path):
    from Sketch2CTModuleLib.ChildProcess import ChildProcess

    folder = tmp_path / "Über 下顎 folder"
    folder.mkdir()
    python, script = folder / "py thon é", folder / "fäke backend.py"
    python.symlink_to(sys.executable)
    shutil.copy(FAKE, script)
    site = os.pathsep.join(p for p in sys.path if "site-packages" in p)
    child = environment(PYTHONPATH=os.pathsep.join([str(Path(FAKE).parents[2] / "Sketch2CTExtension"), site]))
    seen = make(lambda: ChildProcess(str(python), [str(script), "--light", "0"], child))
    seen.backend.generate(request(), folder / "out ö")
    name, (out, _) = seen.outcome()
    assert name == "finished" and out == str(folder / "out ö") and (folder / "out ö" / "manifest.json").is_file()


def test_the_real_worker_and_the_shipped_weights(make, tmp_path):
    from Sketch2CTModuleLib.BackendProcess import _workerProcess

    sample = json.loads((Path(__file__).resolve().parents[2] / "Resources/Samples/mandible.json").read_text(encoding="utf-8"))
    seen = make(_workerProcess)
    seen.backend.generate(sample | {"device": "cpu"}, tmp_path / "cancelled")
    seen.until("busy")
    seen.backend.cancel()
    assert seen.error().code == "cancelled"
    pid = seen.backend.pid
    seen.backend.generate(sample | {"device": "cpu"}, tmp_path / "out")
    name, (_, samples) = seen.outcome()
    assert name == "finished" and (Path(samples[0]) / "ct.nii.gz").is_file() and seen.backend.pid == pid
    assert not leftovers(tmp_path)
