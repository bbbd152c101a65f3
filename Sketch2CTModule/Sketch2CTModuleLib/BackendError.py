"""What went wrong in the backend, as the user is told."""

from __future__ import annotations

from sketch2ct.errors import Sketch2CTError

from .ChildEnd import ChildEnd

_AGAIN = "Generate again: a fresh backend is started then. If it happens again, the log says more."
_ENVIRONMENT = "Check the environment in the section Environment, and install there what is missing."


class BackendError(Sketch2CTError):
    """`code`: one of the worker protocol's (`sketch2ct.worker`), or "crashed", or "not_started"; `message` and `hint` in
    plain words; `details`: the last lines that the backend wrote, if they may help.
    """

    def __init__(self, code: str, message: str, hint: str = "", details: str = "") -> None:
        super().__init__(message, hint)
        self.code = code
        self.details = details

    @classmethod
    def cancelled(cls) -> BackendError:
        """The user's own cancel."""
        return cls("cancelled", "Generation was cancelled.", "Nothing was written.")

    @classmethod
    def notStarted(cls, message: str) -> BackendError:
        """It never got ready."""
        return cls("not_started", message, _ENVIRONMENT)

    @classmethod
    def endedByOthers(cls) -> BackendError:
        """Somebody asked it to end."""
        return cls("crashed", "The backend was asked to end by another program.", _AGAIN)

    @classmethod
    def afterStart(cls, end: ChildEnd, lines: list[str]) -> BackendError:
        """It ended before it was ready; `lines` are the last that it wrote."""
        details, last = "\n".join(lines), lines[-1].strip() if lines else ""
        if not end.started:
            message = f"The backend's Python could not be started: {end.describe()}."
        elif last.startswith(("ModuleNotFoundError", "ImportError")):
            message = f"The backend lacks a package ({last})."
        else:
            message = f"The backend ended while it started ({end.describe()}){': ' if last else '.'}{last}"
        return cls("not_started", message, _ENVIRONMENT, details)

    @classmethod
    def afterCrash(cls, end: ChildEnd, lines: list[str]) -> BackendError:
        """It ended during a job; `lines` are the last that it wrote."""
        details, last = "\n".join(lines), lines[-1].strip() if lines else ""
        if end.wasKilled:
            return cls(
                "out_of_memory",
                "The system ended the backend by force, most likely because the memory ran out.",
                "Close other programs, use a smaller frame or fewer samples, then generate again.",
                details,
            )
        if end.code == 0 and not end.crashed:
            return cls("crashed", "The backend ended before the result was there.", _AGAIN, details)
        return cls("crashed", f"The backend ended unexpectedly ({end.describe()}){': ' if last else '.'}{last}", _AGAIN, details)
