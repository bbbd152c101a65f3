"""The check and the installation as Slicer runs them: in children of QProcess, with the event loop free."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from headless_slicer import bootstrap
from tiny_wheels import NEEDED, make_needed, make_python, program

WAIT_S = 60


@pytest.fixture(autouse=True)
def no_settings_of_this_computers_pip(monkeypatch):
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    for name in ("PIP_FIND_LINKS", "PIP_CONSTRAINT", "PIP_REQUIRE_VIRTUALENV", "PIP_TARGET", "PIP_PREFIX"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def app(tmp_path):
    (tmp_path / "slicer-temporary").mkdir()
    application = bootstrap(tmp_path / "slicer-temporary", qt=True)
    yield application
    from Sketch2CTModuleLib.BackendPython import BackendPython

    BackendPython.choose(None)
    application.close()


@pytest.fixture
def python(app, tmp_path):
    """A Python with hardly anything in it, chosen for the backend; its folder."""
    from Sketch2CTModuleLib.BackendPython import BackendPython

    folder = make_python(tmp_path / "a python")
    BackendPython.choose(program(folder))
    return folder


@pytest.fixture
def installer(python):
    from Sketch2CTModuleLib.EnvironmentCheck import EnvironmentCheck
    from Sketch2CTModuleLib.Installer import Installer

    return Installer(EnvironmentCheck())


def wait_until(condition) -> None:
    import slicer

    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end, "it takes too long"
        slicer.app.processEvents()
        time.sleep(0.005)


def heard(signal) -> list:
    values = []
    signal.connect(lambda *given: values.append(given[0] if len(given) == 1 else given))
    return values


def test_the_check_finds_a_whole_environment_with_this_python(app):
    from Sketch2CTModuleLib.EnvironmentCheck import EnvironmentCheck

    check = EnvironmentCheck()
    told = heard(check.finished)
    check.run()
    wait_until(lambda: told)
    assert check.isReady, check.diagnostics()
    assert {"python", "torch", "text encoder", "bundle headneck"} <= {item.name for item in check.findings}
    assert any(item.name.startswith("device ") for item in check.findings)


def test_a_python_that_is_not_there_is_a_finding(app, tmp_path):
    from Sketch2CTModuleLib.BackendPython import BackendPython
    from Sketch2CTModuleLib.EnvironmentCheck import EnvironmentCheck

    BackendPython.choose(tmp_path / "none")
    check = EnvironmentCheck()
    told = heard(check.finished)
    check.run()
    wait_until(lambda: told)
    assert [item.name for item in check.problems()] == ["backend"]
    assert "could not be started" in check.findings[0].detail


def test_what_is_missing_is_installed_from_a_folder_and_the_check_runs_again(installer, python, tmp_path):
    plans, results, shares = heard(installer.planned), heard(installer.finished), heard(installer.progress)
    installer.plan(make_needed(tmp_path / "wheels"))
    wait_until(lambda: plans)
    assert plans[0].problem == "" and len(plans[0].packages) == len(NEEDED)
    installer.install(plans[0])
    wait_until(lambda: results)
    site = next((python / "lib").glob("python*")) / "site-packages"
    assert {path.name for path in site.glob("*.py")} >= {f"{name.replace('-', '_')}.py" for name in NEEDED}
    # These torch and monai are empty: the check that ran afterwards says so.
    assert not results[0].ok and results[0].message.startswith("Everything was installed, but")
    assert [fraction for _, fraction in shares] == sorted(fraction for _, fraction in shares)


SLOW = """
import subprocess, sys, time
if "install" in sys.orig_argv:
    sleeper = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(300)"])
    open({file!r}, "w").write(str(sleeper.pid))
    time.sleep(300)
"""


def runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_cancelling_ends_pip_and_all_that_it_started(installer, python, tmp_path):
    site = next((python / "lib").glob("python*")) / "site-packages"
    (site / "slow_pip.py").write_text(SLOW.format(file=str(tmp_path / "pid")))
    (site / "slow_pip.pth").write_text("import slow_pip\n")  # not sitecustomize, of which Debian's Python has its own
    plans, results = heard(installer.planned), heard(installer.finished)
    installer.plan(make_needed(tmp_path / "wheels"))
    wait_until(lambda: plans)
    installer.install(plans[0])
    wait_until(lambda: (tmp_path / "pid").is_file() and (tmp_path / "pid").read_text())
    sleeper = int((tmp_path / "pid").read_text())
    assert runs(sleeper)
    start = time.monotonic()
    installer.cancel()
    assert time.monotonic() - start < 1, "the event loop waits meanwhile"
    assert len(results) == 1 and not results[0].ok and installer.state == "idle"
    wait_until(lambda: not runs(sleeper))
    assert time.monotonic() - start < 3
