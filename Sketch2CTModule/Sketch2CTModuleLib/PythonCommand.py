"""The backend's Python in another process, for something else than the backend."""

from __future__ import annotations

from .BackendCommand import BackendCommand


class PythonCommand(BackendCommand):
    """`PYTHON ARGUMENTS`, such as ["-m", "pip", "install", ...]; otherwise as BackendCommand."""

    def _arguments(self, arguments: list[str]) -> list[str]:
        return list(arguments)
