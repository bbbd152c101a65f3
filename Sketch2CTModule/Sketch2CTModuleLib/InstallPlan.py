"""What an installation would do, for the user to agree to."""

from __future__ import annotations

from dataclasses import dataclass

from .InstallStep import InstallStep
from .PythonFacts import PythonFacts


@dataclass(frozen=True)
class InstallPlan:
    """The commands, in order, and what they cost. With a `problem` nothing can be installed."""

    facts: PythonFacts
    packages: tuple[str, ...]  # as asked from pip: "monai>=1.5"
    steps: tuple[InstallStep, ...]
    downloadMb: float  # about; 0 from a folder of wheels
    diskMb: float  # about
    notes: tuple[str, ...] = ()
    problem: str = ""
    offline: bool = False

    @property
    def isNeeded(self) -> bool:
        """False when everything is installed."""
        return bool(self.packages)

    def summary(self) -> str:
        """The text of the question to the user."""
        if not self.isNeeded:
            return "Everything that the backend needs is installed."
        source = "Nothing is downloaded." if self.offline else f"About {_size(self.downloadMb)} to download."
        lines = [
            f"To install: {', '.join(self.packages)}, and what these need.",
            f"{source} About {_size(self.diskMb)} on disk; {_size(self.facts.freeBytes / 1e6)} are free.",
            f"Python {self.facts.version} in {self.facts.folder}",
            *self.notes,
        ]
        return "\n".join(lines + ([self.problem] if self.problem else []))


def _size(megabytes: float) -> str:
    return f"{megabytes / 1000:.1f} GB" if megabytes >= 1000 else f"{megabytes:.0f} MB"
