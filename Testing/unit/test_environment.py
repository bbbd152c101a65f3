"""The check of the environment, and an installation with the real pip, into a throw-away Python, from a folder of tiny wheels."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from children import Child, Children, RealChild
from Sketch2CTModuleLib import Paths
from Sketch2CTModuleLib.EnvironmentCheck import EnvironmentCheck
from Sketch2CTModuleLib.Installer import Installer
from tiny_wheels import NEEDED, make_needed, make_python, make_wheel, program


def findings(**ok: bool) -> str:
    return json.dumps({"findings": [{"name": name.replace("_", " "), "ok": value, "detail": "d"} for name, value in ok.items()]})


READY = findings(python=True, bundle_headneck=True)


def checked(output: str, exit_code: int = 0, errors: str = "") -> EnvironmentCheck:
    check = EnvironmentCheck(Children(lambda arguments: (exit_code, output, errors)), lambda: "3D Slicer 5.12.3")
    check.run()
    return check


# The check


def test_the_doctor_is_asked_once_and_its_findings_are_told():
    children, told = Children(), []
    check = EnvironmentCheck(children, lambda: "")
    check.finished.connect(told.append)
    check.run()
    check.run()
    assert [child.arguments for child in children.made] == [["doctor", "--json"]]
    assert check.isRunning and not check.isReady
    children.made[0].end(0, "a warning of some package\n" + READY)
    assert not check.isRunning and check.isReady
    assert [[item.name for item in found] for found in told] == [["python", "bundle headneck"]]


@pytest.mark.parametrize(
    ("output", "ready"),
    [
        (findings(python=True, torch=True, bundle_headneck=True), True),
        (findings(python=True, torch=False, bundle_headneck=True), False),
        (findings(python=True, bundle_headneck=True, bundle_other=False), True),
        (findings(python=True, bundle_headneck=False), False),
        (findings(python=True), False),
        ("", False),
    ],
)
def test_ready_means_that_a_generation_can_run(output, ready):
    assert checked(output, 1).isReady is ready


@pytest.mark.parametrize("output", ["", "no JSON", '{"other": 1}', '{"findings": [{"name": "torch"}]}', "[1]", "{"])
def test_a_backend_that_does_not_start_is_a_finding_with_its_last_words(output):
    check = checked(output, 127, "Traceback ...\nImportError: libfoo.so: cannot open shared object file\n\n")
    assert [(item.name, item.ok) for item in check.findings] == [("backend", False)]
    assert "127" in check.findings[0].detail and "libfoo.so" in check.findings[0].detail


def test_a_cancelled_check_tells_nothing_and_keeps_what_it_knew():
    children, told = Children(), []
    check = EnvironmentCheck(children, lambda: "")
    check.run()
    children.made[0].end(0, READY)
    check.finished.connect(told.append)
    check.run()
    check.cancel()
    assert children.made[1].was_cancelled
    children.made[1].end(1, "")
    assert told == [] and check.isReady


def test_the_diagnostics_hold_what_a_helper_needs():
    text = checked(findings(python=True, torch=False), 1, "some driver warning\n").diagnostics()
    for words in ("3D Slicer 5.12.3", "ok      python: d", "MISSING torch: d", "some driver warning"):
        assert words in text
    assert "not been checked" in EnvironmentCheck(Children(), lambda: "x").diagnostics()


# The installation, with pip


@pytest.fixture(autouse=True)
def no_settings_of_this_computers_pip(monkeypatch):
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    for name in ("PIP_FIND_LINKS", "PIP_CONSTRAINT", "PIP_REQUIRE_VIRTUALENV", "PIP_TARGET", "PIP_PREFIX"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def python_template(tmp_path_factory) -> Path:
    return make_python(tmp_path_factory.mktemp("python") / "venv")


@pytest.fixture
def python(python_template, tmp_path) -> str:
    return program(Path(shutil.copytree(python_template, tmp_path / "a python", symlinks=True)))


@pytest.fixture
def wheels(tmp_path) -> Path:
    return make_needed(tmp_path / "the wheels")


class Installation:
    """An Installer, everything that it said, and the constraints of each command."""

    def __init__(self, make_command, answer: str = READY, **options) -> None:
        self.plans, self.results, self.progress, self.commands, self.pins, self.text = [], [], [], [], [], ""
        self._make_command = make_command
        check = EnvironmentCheck(Children(lambda arguments: (0, answer, "")), lambda: "")
        self.installer = Installer(check, self._command, pytorchExtension=lambda: False, **options)
        self.installer.planned.connect(self.plans.append)
        self.installer.finished.connect(self.results.append)
        self.installer.progress.connect(lambda text, fraction: self.progress.append((text, fraction)))
        self.installer.log.connect(self._on_log)

    def run(self, wheels: Path | None = None):
        """Plan, agree, install; how it ended."""
        self.installer.plan(wheels)
        self.installer.install(self.plans[-1])
        return self.results[-1]

    def _command(self, arguments: list[str]) -> Child:
        self.commands.append(arguments)
        if "--constraint" in arguments:
            self.pins.append(Path(arguments[arguments.index("--constraint") + 1]).read_text().split())
        return self._make_command(arguments)

    def _on_log(self, text: str) -> None:
        self.text += text


def versions(python: str) -> dict[str, str]:
    listed = subprocess.run([python, "-m", "pip", "list", "--format=json"], capture_output=True, text=True, check=True).stdout
    return {item["name"]: item["version"] for item in json.loads(listed)}


def test_from_a_folder_of_wheels_everything_is_installed_and_nothing_of_slicers_is_touched(python, wheels):
    make_wheel(wheels, "numpy", "2.9.9")
    make_wheel(wheels, "packaging", "99.0")
    done = Installation(lambda arguments: RealChild(python, arguments))
    result = done.run(wheels)
    assert result.ok, f"{result}\n{done.text}"
    now = versions(python)
    assert {name: now.get(name) for name in NEEDED} == NEEDED
    assert (now["numpy"], now["packaging"]) == ("1.26.4", "25.0")
    assert "sentence-transformers" not in now
    assert done.pins[0] == ["numpy==1.26.4", "packaging==25.0"]
    assert done.pins[-1][-1] == "torch==2.9.0", "the torch that was chosen stays"
    shares = [fraction for _, fraction in done.progress]
    assert shares == sorted(shares) and shares[-1] == 1.0
    assert "Successfully installed" in done.text


def test_a_second_installation_has_nothing_to_do(python, wheels):
    done = Installation(lambda arguments: RealChild(python, arguments))
    done.run(wheels)
    done.installer.plan(wheels)
    assert not done.plans[-1].isNeeded


def test_a_wheel_that_demands_another_numpy_is_refused_and_numpy_stays(python, wheels):
    make_wheel(wheels, "numpy", "2.9.9")
    make_wheel(wheels, "monai", "1.5.2", ("numpy>=2",))
    result = Installation(lambda arguments: RealChild(python, arguments)).run(wheels)
    assert not result.ok
    assert "numpy==1.26.4" in result.message and "Nothing was replaced" in result.message
    assert versions(python)["numpy"] == "1.26.4"
    assert "monai" not in versions(python)


def test_an_older_version_that_fits_is_taken_instead(python, wheels):
    make_wheel(wheels, "numpy", "2.9.9")
    make_wheel(wheels, "scikit-image", "0.99", ("numpy>=2",))
    assert Installation(lambda arguments: RealChild(python, arguments)).run(wheels).ok
    assert versions(python)["scikit-image"] == "0.25"


def test_slicers_own_build_without_metadata_is_not_shadowed(python, wheels, tmp_path):
    site = next((tmp_path / "a python" / "lib").glob("python*")) / "site-packages"
    (site / "vtk.py").write_text("# built into Slicer\n")
    make_wheel(wheels, "vtk", "9.9.9")
    make_wheel(wheels, "monai", "1.5.2", ("vtk",))
    result = Installation(lambda arguments: RealChild(python, arguments)).run(wheels)
    assert not result.ok and "vtk" in result.message
    assert (site / "vtk.py").read_text() == "# built into Slicer\n"


@pytest.mark.parametrize("spoil", ["missing", "of another Python", "damaged"])
def test_a_folder_of_wheels_with_a_fault_is_told_in_plain_words(python, wheels, spoil):
    wheel = wheels / "nibabel-5.0-py3-none-any.whl"
    if spoil == "damaged":
        wheel.write_bytes(wheel.read_bytes()[:100])
    else:
        wheel.unlink()
    if spoil == "of another Python":
        make_wheel(wheels, "nibabel", "5.0", tag="cp27-cp27m-win32")
    result = Installation(lambda arguments: RealChild(python, arguments)).run(wheels)
    said = "damaged" if spoil == "damaged" else "There is no wheel of nibabel"
    assert not result.ok and said in result.message, result
    assert result.hint


def test_a_bare_python_is_diagnosed(python, wheels):
    check = EnvironmentCheck(lambda arguments: RealChild(python, [str(Paths.backendScript()), *arguments]), lambda: "")
    check.run()
    missing = {item.name for item in check.problems()}
    assert {"torch", "monai", "typer", "scikit-image"} <= missing
    assert not check.isReady and "backend" not in missing


# The installation, with doubles


def facts_text(python_facts: dict | None = None) -> str:
    from dataclasses import asdict

    from Sketch2CTModuleLib.PythonFacts import PythonFacts

    names = [*NEEDED, "numpy", "scipy", "vtk", "SimpleITK", "pydicom", "requests", "packaging", "pip", "light-the-torch"]
    standard = asdict(PythonFacts.ofThisPython([]))
    standard |= {"installed": dict.fromkeys(names) | {"numpy": "2.0.2", "pip": "25.1"}, "importable": dict.fromkeys(names, False)}
    standard |= {"prefix": "/another", "writable": True, "freeBytes": 10**11}
    return json.dumps(standard | (python_facts or {}))


def with_doubles(**facts) -> tuple[Installation, Children]:
    """Facts are answered at once, pip by the test."""
    children = Children(lambda arguments: None if "install" in arguments else (0, facts_text(facts), ""))
    return Installation(children), children


def test_what_pip_changed_against_the_constraints_stops_everything_and_can_be_put_back():
    done, children = with_doubles()
    done.installer.plan()
    done.installer.install(done.plans[0])
    changed = facts_text({"installed": {"numpy": "2.9.9", "pip": "25.1"}})
    children._answer = lambda arguments: None if "install" in arguments else (0, changed, "")
    children.made[-1].end(0, "Successfully installed torch\n")
    assert len(done.results) == 1 and not done.results[0].ok
    assert "numpy 2.0.2 -> 2.9.9" in done.results[0].message
    assert "pip install numpy==2.0.2" in done.results[0].hint
    assert sum("install" in command for command in done.commands) == 1, "nothing more is installed after that"


def test_a_python_that_is_chosen_meanwhile_gets_nothing_of_another_ones_plan():
    done, children = with_doubles()
    done.installer.plan()
    done.installer.install(done.plans[0])
    children._answer = lambda arguments: None if "install" in arguments else (0, facts_text({"executable": "/other/python"}), "")
    children.made[-1].end(0, "Successfully installed torch\n")
    assert [result.ok for result in done.results] == [False] and "meanwhile" in done.results[0].message
    assert sum("install" in command for command in done.commands) == 1


def test_cancelling_ends_pip_and_later_words_are_not_heard():
    done, children = with_doubles()
    started = []
    done.installer.started.connect(lambda: started.append(True))
    done.installer.plan()
    assert started == []
    done.installer.install(done.plans[0])
    pip = children.made[-1]
    folder = Path(pip.arguments[pip.arguments.index("--constraint") + 1]).parent
    assert folder.is_dir() and started == [True] and done.installer.state == "installing"
    done.installer.cancel()
    assert pip.was_cancelled and not folder.exists() and done.installer.state == "idle"
    pip.end(0, "Successfully installed torch\n")
    assert [result.ok for result in done.results] == [False]
    assert "cancelled" in done.results[0].message
    done.installer.plan()
    done.installer.install(done.plans[-1])
    assert done.installer.state == "installing", "the next one works"
    done.installer.cancel()


def test_one_failure_is_told_once_with_the_step_that_failed():
    done, children = with_doubles()
    done.installer.plan()
    done.installer.install(done.plans[0])
    with pytest.raises(ValueError, match="under way"):
        done.installer.install(done.plans[0])
    children.made[-1].end(1, "Collecting torch\n", "ERROR: ... [Errno 28] No space left on device\n")
    assert [result.message for result in done.results] == ["PyTorch: The disk is full."]
    assert done.installer.state == "idle"


def test_a_plan_with_a_problem_is_not_carried_out():
    done, _ = with_doubles(freeBytes=1000)
    done.installer.plan()
    with pytest.raises(ValueError, match="too little room"):
        done.installer.install(done.plans[0])
    assert not any("install" in command for command in done.commands)


@pytest.mark.parametrize(("code", "output", "errors"), [(-1, "", "execve: No such file or directory"), (0, "hello", "")])
def test_a_python_that_does_not_start_is_told(code, output, errors):
    done = Installation(Children(lambda arguments: (code, output, errors)))
    done.installer.plan()
    assert done.plans == [] and "does not start" in done.results[0].message
    assert done.installer.state == "idle"


def test_installed_but_not_ready_is_no_success(python, wheels):
    done = Installation(lambda arguments: RealChild(python, arguments), answer=findings(torch=False, bundle_headneck=True))
    result = done.run(wheels)
    assert not result.ok and "torch" in result.message
