"""One command of an installation."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class InstallStep:
    """What to give to Python, and what to tell the user meanwhile."""

    title: str
    arguments: tuple[str, ...]  # {constraints} stands for the constraints file, {progress} for the kind of progress bar
    downloadMb: float  # about

    def command(self, constraints: str, pip: str | None) -> list[str]:
        """The arguments for a pip of that version, with the path of the constraints file filled in."""
        filled = {"{constraints}": constraints, "{progress}": "raw" if _tellsBytes(pip) else "off"}
        return [filled.get(argument, argument) for argument in self.arguments]


def _tellsBytes(pip: str | None) -> bool:
    """Since 24.1, pip can print how much of a file has come, for programs to read."""
    from packaging.version import Version

    return pip is not None and Version(pip) >= Version("24.1")
