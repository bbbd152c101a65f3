"""One-shot commands of the backend, and the Python that runs them."""

import json
import sys
import time
from pathlib import Path

import pytest

from backend_listener import alive, spin


@pytest.fixture(autouse=True)
def slicer_qt(tmp_path):
    from headless_slicer import bootstrap

    folder = tmp_path / "slicer-temporary"
    folder.mkdir()
    app = bootstrap(folder, qt=True)
    yield app
    app.close()


def run(command):
    ends, logs = [], []
    command.finished.connect(lambda *end: ends.append(end))
    command.log.connect(logs.append)
    command.start()
    assert spin(lambda: ends)
    return *ends[0], "".join(logs)


def test_doctor_answers_in_json():
    from Sketch2CTModuleLib.BackendCommand import BackendCommand

    code, output, errors, log = run(BackendCommand(["doctor", "--json"]))
    findings = json.loads(output)["findings"]
    assert code == 0 and {"torch", "python"} <= {item["name"] for item in findings} and output in log + errors


def test_a_command_that_fails_gives_its_code_and_its_words():
    from Sketch2CTModuleLib.BackendCommand import BackendCommand

    code, output, errors, _ = run(BackendCommand(["describe", "/nowhere/labels.nii.gz", "--structure", "mandible"]))
    assert code == 2 and output == "" and "There is no file /nowhere/labels.nii.gz" in errors


def test_python_itself_without_an_input_and_in_utf8():
    from Sketch2CTModuleLib.PythonCommand import PythonCommand

    program = "import sys; print(sys.stdin.read() == '', 'ö下'); print('wörds', file=sys.stderr); sys.exit(7)"
    code, output, errors, log = run(PythonCommand(["-c", program]))
    assert (code, output, errors) == (7, "True ö下\n", "wörds\n") and "wörds" in log and "ö下" in log


def test_a_command_that_is_killed_has_no_exit_code():
    from Sketch2CTModuleLib.PythonCommand import PythonCommand

    assert run(PythonCommand(["-c", "import os; os.kill(os.getpid(), 9)"]))[0] == -9


def test_cancel_ends_the_whole_tree_and_nothing_is_heard(tmp_path):
    from Sketch2CTModuleLib.ChildProcess import ChildProcess
    from Sketch2CTModuleLib.PythonCommand import PythonCommand

    note = tmp_path / "pids"
    program = (
        "import os, subprocess, sys, time; p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)'])\n"
        f"note = {str(note)!r}; open(note + '~', 'w').write(f'{{os.getpid()}} {{p.pid}}'); os.rename(note + '~', note)\n"
        "time.sleep(300)"
    )
    command, heard = PythonCommand(["-c", program]), []
    command.finished.connect(lambda *end: heard.append(end))
    command.start()
    assert spin(note.exists)
    pids = [int(word) for word in note.read_text().split()]
    begin = time.monotonic()
    command.cancel()
    assert time.monotonic() - begin < 0.5
    assert spin(lambda: not ChildProcess._alive and not any(alive(pid) for pid in pids), 5) and heard == []


def test_a_command_that_nobody_keeps_runs_to_its_end(tmp_path):
    from Sketch2CTModuleLib.PythonCommand import PythonCommand

    target = tmp_path / "done"
    PythonCommand(["-c", f"import time; time.sleep(0.3); open({str(target)!r}, 'w')"]).start()
    assert spin(target.exists, 10)


def test_the_chosen_python_is_used_even_with_spaces_and_foreign_letters(tmp_path):
    from Sketch2CTModuleLib.BackendPython import BackendPython
    from Sketch2CTModuleLib.PythonCommand import PythonCommand

    python = tmp_path / "mein Ordner 下" / "python é"
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    assert BackendPython.find().source in ("this", "Slicer") and BackendPython.chosen() == ""
    BackendPython.choose(python)
    assert BackendPython.find() == BackendPython(str(python), "chosen")
    assert run(PythonCommand(["-c", "print(5)"]))[:2] == (0, "5\n")
    BackendPython.choose(Path("/nowhere/python"))
    code, _, errors, _ = run(PythonCommand(["-c", "print(5)"]))
    assert code == -1 and "/nowhere/python" in errors
    BackendPython.choose(None)
    assert BackendPython.chosen() == ""


def test_slicer_s_own_python_comes_before_this_process_s(tmp_path, monkeypatch):
    from Sketch2CTModuleLib.BackendPython import BackendPython

    slicers = tmp_path / "PythonSlicer"
    slicers.write_text("#!/bin/sh\n")
    slicers.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert BackendPython.find() == BackendPython(str(slicers), "Slicer")


def test_the_environment_of_the_child(slicer_qt, monkeypatch):
    import qt

    from Sketch2CTModuleLib.BackendPython import BackendPython

    monkeypatch.setenv("ITK_AUTOLOAD_PATH", "/slicer/itk")
    monkeypatch.setenv("OF_SLICER", "1")
    started = qt.QProcessEnvironment()
    started.insert("OF_THE_SHELL", "1")
    slicer_qt.app.startupEnvironment = lambda: started
    for source, has in (("Slicer", "OF_THE_SHELL"), ("chosen", "OF_THE_SHELL"), ("this", "OF_SLICER")):
        (lacks,) = {"OF_THE_SHELL", "OF_SLICER"} - {has}
        made = BackendPython(sys.executable, source).environment()
        assert made.contains(has) and not made.contains(lacks) and not made.contains("ITK_AUTOLOAD_PATH")
        wanted = {"PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1", "PYTHONNOUSERSITE": "1", "OMP_WAIT_POLICY": "PASSIVE"}
        assert {name: made.value(name) for name in wanted} == wanted
    started.insert("OMP_WAIT_POLICY", "ACTIVE")
    assert BackendPython(sys.executable, "chosen").environment().value("OMP_WAIT_POLICY") == "ACTIVE"
