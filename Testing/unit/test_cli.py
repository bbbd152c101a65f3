"""The command line where all goes well, around stand-in generators; and Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from fake_backend import circle, engine, make_bundle
from sketch2ct import cli, console
from sketch2ct.request import GenerationRequest

SUPPORT = Path(__file__).resolve().parents[1] / "support"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with `request.json`, and an engine of stand-ins behind the command line."""
    make_bundle(tmp_path / "shelf")
    monkeypatch.setenv("SKETCH2CT_BUNDLES", str(tmp_path / "shelf"))
    made = engine(tmp_path / "shelf")
    monkeypatch.setattr("sketch2ct.engine.Engine", lambda: made)
    monkeypatch.chdir(tmp_path)
    sketches = [circle(20), circle(15, (0, 0, 5), "coronal")]
    GenerationRequest(sketches, "a mandible of 5 mL", device="cpu").write(tmp_path / "request.json")
    return tmp_path


def test_generate_prints_the_folder_and_warns_on_stderr(folder, capsys):
    assert cli.main(["generate", "request.json", "--out", "out"]) == 0
    out, err = capsys.readouterr()
    assert out == "out\n" and "warning: The mandible has " in err and "Drawing the mask" in err
    assert json.loads((folder / "out" / "manifest.json").read_text())["synthetic"] is True


def test_options_take_the_place_of_the_requests_fields(folder, capsys):
    options = ["--seed", "5", "--samples", "2", "--steps", "9", "--guidance", "1.5", "--bundle", "headneck"]
    assert cli.main(["generate", "request.json", "--out", "out", *options, "--device", "cpu"]) == 0
    assert capsys.readouterr().out.split() == [os.path.join("out", "sample-001"), os.path.join("out", "sample-002")]
    first = GenerationRequest.read(folder / "out" / "sample-001" / "request.json")
    assert (first.seed, first.samples, first.steps, first.guidance) == (5, 1, 9, 1.5)


def test_scene_and_preview_lie_in_the_result_and_are_replaced_with_it(folder):
    arguments = ["generate", "request.json", "--out", "out", "--scene", "--preview", "--replace"]
    assert cli.main(arguments) == 0 and cli.main(arguments) == 0
    assert (folder / "out" / "preview.png").read_bytes().startswith(b"\x89PNG")
    assert any(name.endswith(".mrml") for name in zipfile.ZipFile(folder / "out" / "scene.mrb").namelist())


def test_the_context_is_looked_for_beside_the_request(folder, capsys):
    (folder / "deep").mkdir()
    data = json.loads((folder / "request.json").read_text()) | {"context": "kept.nii.gz"}
    (folder / "deep" / "request.json").write_text(json.dumps(data))
    assert cli.main(["generate", "deep/request.json", "--out", "out"]) == 2
    assert os.path.join("deep", "kept.nii.gz") in capsys.readouterr().err


def test_an_unforeseen_fault_is_one_line_and_a_traceback_only_when_asked(folder, monkeypatch, capsys):
    monkeypatch.setattr("sketch2ct.engine.Engine", lambda: 1 / 0)
    assert cli.main(["generate", "request.json", "--out", "out"]) == 1
    brief = capsys.readouterr().err
    assert brief.startswith("error: ZeroDivisionError") and brief.count("\n") == 1 and "--debug" in brief
    assert cli.main(["--debug", "generate", "request.json", "--out", "out"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_the_first_interrupt_cancels_the_second_stops_and_the_handlers_come_back():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), console.run_progress() as progress:
        os.kill(os.getpid(), signal.SIGINT)
        assert progress.cancel.wait(5)
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait(5)
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_ends_with_130_and_leaves_nothing(folder, number):
    program = (
        "import sys; from pathlib import Path; import fake_backend, sketch2ct.engine; from sketch2ct.cli import main\n"
        "made = fake_backend.engine(Path('shelf'), 10)\n"
        "sketch2ct.engine.Engine = lambda: made\n"
        "sys.exit(main(['generate', 'request.json', '--out', 'out']))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SUPPORT), *sys.path])}
    before = sorted(p.name for p in folder.iterdir())
    with subprocess.Popen([sys.executable, "-c", program], cwd=folder, env=environment, stderr=subprocess.PIPE, text=True) as process:
        while "Drawing" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and err == "error: Generation was cancelled. Nothing was written.\n"
    assert sorted(p.name for p in folder.iterdir()) == before


def test_mask_only_leaves_the_ct_out_and_wants_no_pictures(folder, capsys):
    assert cli.main(["generate", str(folder / "request.json"), "--out", str(folder / "mask"), "--mask-only"]) == 0
    assert not (folder / "mask" / "ct.nii.gz").exists() and (folder / "mask" / "labels.nii.gz").is_file()
    assert cli.main(["generate", str(folder / "request.json"), "--out", str(folder / "other"), "--mask-only", "--scene"]) == 2
    assert "need a CT" in capsys.readouterr().err and not (folder / "other").exists()


def test_the_doctor_answers_as_json(capsys):
    status = cli.main(["doctor", "--json"])
    findings = json.loads(capsys.readouterr().out)["findings"]
    assert {"name", "ok", "detail"} == set(findings[0]) and status == (0 if all(item["ok"] for item in findings) else 1)
    assert {"python", "torch", "bundle headneck"} <= {item["name"] for item in findings}


def test_the_doctor_answers_where_hardly_anything_is_installed(tmp_path):
    """By the launcher, in a Python in which no package can be found."""
    script = Path(__file__).resolve().parents[2] / "Sketch2CTExtension" / "sketch2ct_backend.py"
    done = subprocess.run([sys.executable, "-I", "-S", str(script), "doctor", "--json"], capture_output=True, text=True, timeout=60)
    findings = {item["name"]: item for item in json.loads(done.stdout)["findings"]}
    assert done.returncode == 1 and not findings["torch"]["ok"] and "pip install torch" in findings["torch"]["detail"]
    done = subprocess.run([sys.executable, "-I", "-S", str(script), "worker"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "package typer is missing" in done.stderr
