"""What CMake packages for Slicer is complete, holds nothing else, and works where it is installed.

Slicer's macros are a stand-in (`Testing/support/slicer_cmake`), whose own behaviour the last tests pin.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import struct
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SLICER_CMAKE = REPOSITORY / "Testing" / "support" / "slicer_cmake"
MODULES = Path("lib/Slicer-5.12/qt-scripted-modules")
NOT_SHIPPED = ("Resources/Screenshots/", "Resources/constraints.txt", "Resources/README.md", "Sketch2CTModule/README.md")
LICENCE = "Sketch2CTExtension/LICENSE"


def cmake(*arguments: object) -> subprocess.CompletedProcess[str]:
    program = shutil.which("cmake", path=sysconfig.get_path("scripts")) or shutil.which("cmake")
    assert program, "cmake is missing: it comes with the package of that name"
    return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, timeout=120)


def configure(source: Path, build: Path) -> subprocess.CompletedProcess[str]:
    toolchain = f"-DCMAKE_TOOLCHAIN_FILE={SLICER_CMAKE / 'no-compiler.cmake'}"
    return cmake("-S", source, "-B", build, "-G", "Unix Makefiles", f"-DSlicer_DIR={SLICER_CMAKE}", toolchain, "-DBUILD_TESTING=ON")


def package(source: Path, build: Path, prefix: Path) -> Path:
    """Configure, build and install; the folder of the installed modules."""
    for done in (configure(source, build), cmake("--build", build), cmake("--install", build, "--prefix", prefix)):
        assert done.returncode == 0, done.stdout + done.stderr
    return prefix / MODULES


def files_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def source_files() -> set[str]:
    """The repository's files: what git tracks or would offer to track; without git, what lies there less the caches."""
    folders = ("Sketch2CTModule", "Sketch2CTExtension", "Resources")
    listing = ["git", "-C", str(REPOSITORY), "ls-files", "--cached", "--others", "--exclude-standard", "--", *folders]
    if (REPOSITORY / ".git").exists() and shutil.which("git"):
        listed = subprocess.run(listing, capture_output=True, text=True, check=True).stdout.splitlines()
        return {name for name in listed if (REPOSITORY / name).is_file()}
    found = {f"{folder}/{name}" for folder in folders for name in files_below(REPOSITORY / folder)}
    return {name for name in found if "__pycache__" not in name and ".egg-info" not in name}


def should_be_installed() -> set[str]:
    shipped = {name for name in source_files() if not name.startswith(NOT_SHIPPED) and not name.endswith("CMakeLists.txt")}
    return {name.removeprefix("Sketch2CTModule/") for name in shipped} | {LICENCE}


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("an installed Slicer")  # a space in the path, as in "Program Files"
    package(REPOSITORY, root / "build", root / "prefix")
    return root / "prefix"


@pytest.fixture(scope="module")
def modules(prefix: Path) -> Path:
    return prefix / MODULES


def run_installed(modules: Path, cwd: Path, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """The installed backend, from elsewhere and with nothing in the environment that helps it."""
    helped = ("PYTHONPATH", "SKETCH2CT_RESOURCES")
    environment = {key: value for key, value in os.environ.items() if key not in helped}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    command = [sys.executable, str(modules / "Sketch2CTExtension" / "sketch2ct_backend.py"), *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, input=given, capture_output=True, text=True, timeout=180)


def test_nothing_is_missing_and_nothing_is_extra(modules):
    installed, wanted = files_below(modules), should_be_installed()
    assert sorted(wanted - installed) == [], "not packaged"
    assert sorted(installed - wanted) == [], "packaged, though nobody wants it there"


def test_every_file_is_the_one_of_the_source(modules):
    for name in files_below(modules) - {LICENCE}:
        source = next(path for path in (REPOSITORY / name, REPOSITORY / "Sketch2CTModule" / name) if path.is_file())
        assert (modules / name).read_bytes() == source.read_bytes(), name


def test_all_of_it_lies_where_slicer_looks(prefix, modules):
    assert {path for path in prefix.rglob("*") if path.is_file() and modules not in path.parents} == set()
    assert [path.name for path in modules.glob("*.py")] == ["Sketch2CTModule.py"], "Slicer takes each of these for a module"


def test_the_installed_folders_are_found(modules, tmp_path):
    lines = (
        "import sys",
        f"sys.path.insert(0, {str(modules)!r})",
        "from Sketch2CTModuleLib import Paths",
        "import sketch2ct.resources",
        "print(Paths.moduleFolder(), Paths.resourcesFolder(), Paths.backendScript(), sketch2ct.__file__, sep='\\n')",
    )
    # -S and -E: neither an installed sketch2ct nor a PYTHONPATH can stand in for the packaged one
    found = subprocess.run([sys.executable, "-S", "-E", "-B", "-c", "\n".join(lines)], cwd=tmp_path, capture_output=True, text=True)
    backend = modules / "Sketch2CTExtension"
    wanted = [modules, modules / "Resources", backend / "sketch2ct_backend.py", backend / "sketch2ct" / "__init__.py"]
    assert found.stdout.splitlines() == [str(path) for path in wanted], found.stderr


def test_the_installed_bundle_is_the_one_that_is_used(modules, tmp_path):
    listed = run_installed(modules, tmp_path, "bundles", "verify", "headneck")
    assert (listed.returncode, listed.stderr) == (0, "")
    where = run_installed(modules, tmp_path, "bundles", "list").stdout
    assert str(modules / "Resources" / "Bundles" / "headneck") in where


def test_the_doctor_is_content_with_the_installed_tree(modules, tmp_path):
    told = run_installed(modules, tmp_path, "doctor")
    assert told.returncode == 0, told.stdout + told.stderr
    assert str(modules / "Resources" / "Bundles" / "headneck") in told.stdout


def test_the_worker_starts_from_the_installed_tree(modules, tmp_path):
    told = run_installed(modules, tmp_path, "worker", given='{"type": "shutdown"}\n')
    ready = json.loads(told.stdout.splitlines()[0])
    assert (told.returncode, ready["type"]) == (0, "ready"), told.stderr
    assert "headneck" in json.dumps(ready["bundles"])


def test_the_selftest_is_registered(prefix):
    program = shutil.which("ctest", path=sysconfig.get_path("scripts")) or "ctest"
    told = subprocess.run([program, "-N"], cwd=prefix.parent / "build", capture_output=True, text=True).stdout
    assert set(re.findall(r"Test +#\d+: (\w+)", told)) == {"py_Sketch2CTModule", "py_nomainwindow_qSlicerSketch2CTModuleModuleGenericTest"}


def metadata(name: str) -> str:
    """As the Extensions Index reads it: a literal on one line of the root file."""
    text = (REPOSITORY / "CMakeLists.txt").read_text(encoding="utf-8")
    found = re.findall(rf'^set\(EXTENSION_{name} "([^"$]+)"\)$', text, re.MULTILINE)
    assert len(found) == 1, f"EXTENSION_{name} is to be set once, on one line, without a variable"
    return found[0]


def test_the_addresses_of_the_pictures_name_files_of_the_repository():
    raw = metadata("HOMEPAGE").replace("https://github.com/", "https://raw.githubusercontent.com/") + "/main/"
    addresses = [metadata("ICONURL"), *metadata("SCREENSHOTURLS").split(" ")]
    for address in addresses:
        assert address.startswith(raw) and address.endswith((".png", ".jpg", ".gif")), address
        assert (REPOSITORY / address.removeprefix(raw)).is_file(), address


def test_the_other_metadata_are_what_the_index_accepts():
    text = (REPOSITORY / "CMakeLists.txt").read_text(encoding="utf-8")
    assert re.findall(r"^project\((\w+)\)$", text, re.MULTILINE) == ["Sketch2CT"]
    assert metadata("CATEGORY") == "Image Synthesis"
    assert metadata("DEPENDS") == "PyTorch"
    assert len(metadata("DESCRIPTION")) > 40
    assert not (REPOSITORY / "Sketch2CTModule" / "__init__.py").exists(), "Slicer would take the module for a library"


def test_the_icon_is_a_png_of_128_pixels():
    head = (REPOSITORY / "Resources" / "Icons" / "Sketch2CTModule.png").read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", head[16:24]) == (128, 128)


def test_every_icon_that_is_asked_for_is_there():
    code = "".join(path.read_text(encoding="utf-8") for path in (REPOSITORY / "Sketch2CTModule").rglob("*.py"))
    asked = set(re.findall(r'\bicon\("([\w-]+)"', code)) | set(re.findall(r'Button": "([\w-]+)"', code))
    there = {path.stem for path in (REPOSITORY / "Resources" / "Icons").glob("*.svg")}
    assert asked, "the code names its icons in another way now: mend this test"
    assert asked <= there


# The stand-in itself: it must not be kinder than Slicer's macros.


def toy_extension(folder: Path, scripts: str, resources: str) -> Path:
    module = folder / "Toy"
    module.mkdir(parents=True)
    (module / "Toy.py").write_text("x = 1\n")
    (folder / "beside.txt").write_text("beside\n")
    (module / "CMakeLists.txt").write_text(f"slicerMacroBuildScriptedModule(NAME Toy {scripts} {resources})\n")
    names = ("HOMEPAGE", "CONTRIBUTORS", "DESCRIPTION", "ICONURL", "SCREENSHOTURLS", "DEPENDS")
    lines = ["cmake_minimum_required(VERSION 3.20.6)", "project(Toy)", *(f"set(EXTENSION_{name} NA)" for name in names)]
    lines += ["find_package(Slicer REQUIRED)", "include(${Slicer_USE_FILE})", "add_subdirectory(Toy)"]
    lines += ["include(${Slicer_EXTENSION_GENERATE_CONFIG})", "include(${Slicer_EXTENSION_CPACK})"]
    (folder / "CMakeLists.txt").write_text("\n".join(lines) + "\n")
    return folder


def test_the_standin_loses_what_climbs_out_of_its_folder(tmp_path):
    source = toy_extension(tmp_path / "source", "SCRIPTS Toy", "RESOURCES ../beside.txt")
    modules = package(source, tmp_path / "build", tmp_path / "prefix")
    assert files_below(modules) == {"Toy.py"}
    assert (tmp_path / "build" / MODULES.parent / "beside.txt").is_file()


@pytest.mark.parametrize(
    ("scripts", "resources", "said"),
    [
        ("SCRIPTS Toy.py Gone.py", "", "nonexistent"),
        ("SCRIPTS Toy.py", "RESOURCES gone.txt", "nonexistent"),
        ("", "RESOURCES ../beside.txt", "SCRIPTS is mandatory"),
        ("Toy.py", "", "Unknown keywords"),
    ],
)
def test_the_standin_refuses_what_slicer_refuses(tmp_path, scripts, resources, said):
    done = configure(toy_extension(tmp_path / "source", scripts, resources), tmp_path / "build")
    assert done.returncode != 0
    assert said in done.stderr


def test_a_file_that_is_added_later_is_packaged_without_a_new_configuration(tmp_path):
    source = tmp_path / "source"
    for name in ("Sketch2CTModule", "Sketch2CTExtension", "Testing", "Resources/Icons"):
        shutil.copytree(REPOSITORY / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("CMakeLists.txt", "LICENSE"):
        shutil.copy(REPOSITORY / name, source / name)
    package(source, tmp_path / "build", tmp_path / "first")
    (source / "Sketch2CTExtension" / "sketch2ct" / "later.py").write_text("x = 1\n")
    (source / "Resources" / "Icons" / "Later.svg").write_text("<svg/>\n")
    for done in (cmake("--build", tmp_path / "build"), cmake("--install", tmp_path / "build", "--prefix", tmp_path / "second")):
        assert done.returncode == 0, done.stderr
    added = files_below(tmp_path / "second" / MODULES) - files_below(tmp_path / "first" / MODULES)
    assert added == {"Sketch2CTExtension/sketch2ct/later.py", "Resources/Icons/Later.svg"}


# An editable installation of the checkout puts its folder on the path.
HIDE_CHECKOUT = "import sys; sys.path = [entry for entry in sys.path if not entry.endswith('Sketch2CTExtension')]\n"
GENERATE = """
import os, sys, tempfile
from pathlib import Path
sys.path.insert(0, {support!r})
from headless_slicer import bootstrap
app = bootstrap(Path(tempfile.mkdtemp()), qt=True)
from headless_slicer.desktop import Desktop
desktop = Desktop(app)
widget = desktop.open_module({module!r})
widget.ui.resultsPath.setCurrentPath({results!r})
widget.ui.descriptionEdit.setPlainText("a small larynx")
desktop.click(widget.ui.generateButton)
assert desktop.wait(lambda: not widget._panel.generation.busy, 150), widget._panel.generation.backend.logText()
import sketch2ct, Sketch2CTModuleLib
print(desktop.dialogs, widget.ui.statusLabel.text)
print(sketch2ct.__file__)
print(Sketch2CTModuleLib.__file__)
desktop.close()
app.close()
"""


def test_the_installed_module_opens_and_generates(modules, tmp_path):
    """In the stand-in desktop; the checkout's own packages are kept out of the way."""
    support = str(Path(__file__).resolve().parents[1] / "support")
    program = GENERATE.format(support=support, module=str(modules / "Sketch2CTModule.py"), results=str(tmp_path / "results"))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", HIDE_CHECKOUT + program]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    said, backend, library = done.stdout.strip().splitlines()[-3:]
    assert said == "[] Done."
    assert Path(backend).is_relative_to(modules) and Path(library).is_relative_to(modules)
    assert len(list((tmp_path / "results").glob("*/ct.nii.gz"))) == 1
