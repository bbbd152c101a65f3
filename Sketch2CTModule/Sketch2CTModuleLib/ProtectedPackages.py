"""What Slicer is built on, and no installation may replace: Slicer would not start any more."""

from __future__ import annotations

from .PythonFacts import PythonFacts

PROTECTED = ("numpy", "scipy", "vtk", "SimpleITK", "pydicom", "requests", "packaging")


class ProtectedPackages:
    """The protected packages of one Python, as they were at the start."""

    def __init__(self, facts: PythonFacts) -> None:
        self._facts = facts

    def versions(self) -> dict[str, str]:
        """Those that are installed, with their versions."""
        installed = self._facts.installed
        return {name: str(installed[name]) for name in PROTECTED if installed.get(name) is not None}

    def constraints(self) -> list[str]:
        """Lines of a pip constraints file that let nothing replace or shadow them."""
        lines = [f"{name}=={found}" for name, found in self.versions().items()]
        # Slicer's own build of a package may carry no metadata: pip would not see it, and install another beside it.
        built_in = [name for name in PROTECTED if name not in self.versions() and self._facts.importable.get(name)]
        return lines + [f"{name}<0" for name in built_in]

    def replaced(self, now: PythonFacts) -> list[str]:
        """What is different in `now`, as "numpy 2.0.2 -> 2.4.6"."""
        before, after = self.versions(), ProtectedPackages(now).versions()
        return [f"{name} {found} -> {after.get(name, 'removed')}" for name, found in before.items() if after.get(name) != found]
