"""What can go wrong, as a closed list. Every error a user can meet says what, where, and how to mend it."""

from __future__ import annotations


class Sketch2CTError(Exception):
    """An error with a stable `code`, a one-line `message` and a `hint` that says what to do next."""

    code = "internal"

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = " ".join(str(message).split())
        self.hint = " ".join(str(hint).split())

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class BadRequest(Sketch2CTError):
    """The user's input is wrong."""

    code = "bad_request"


class BundleMissing(Sketch2CTError):
    """No bundle of that name is installed."""

    code = "bundle_missing"


class BundleCorrupt(Sketch2CTError):
    """A bundle's files are not the ones that its checksums name."""

    code = "bundle_corrupt"


class OutOfMemory(Sketch2CTError):
    """The device has too little memory for this request."""

    code = "out_of_memory"


class Cancelled(Sketch2CTError):
    """The user asked to stop."""

    code = "cancelled"

    def __init__(self, message: str = "Generation was cancelled.", hint: str = "Nothing was written.") -> None:
        super().__init__(message, hint)


class WriteFailed(Sketch2CTError):
    """The output cannot be written (permissions, full disk)."""

    code = "bad_request"
