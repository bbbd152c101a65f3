"""Why pip failed, in plain words."""

from __future__ import annotations

import re
from dataclasses import dataclass

# In this order: a missing network also makes pip say that it found no version, and so on.
_CAUSES: tuple[tuple[str, str, str], ...] = (
    (
        r"No space left on device|\[Errno 28\]|WinError 112",
        "The disk is full.",
        "Make room, then install again.",
    ),
    (
        r"ProxyError|Cannot connect to proxy|407 Proxy",
        "The proxy refused the connection.",
        "Ask for its address and set the environment variable HTTPS_PROXY before Slicer starts, or use a folder of wheels.",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|SSLError",
        "The server's certificate is not trusted here, as where a firewall reads encrypted traffic.",
        "Ask for its certificate and set PIP_CERT to the file, or use a folder of wheels.",
    ),
    (
        r"NewConnectionError|NameResolutionError|name resolution|getaddrinfo failed|Connection refused|Network is unreachable"
        r"|ConnectTimeout|Read timed out|ReadTimeout|ConnectionResetError|Connection aborted|RemoteDisconnected|IncompleteRead",
        "The download server cannot be reached.",
        "Check the network, then install again; or use a folder of wheels.",
    ),
    (
        r"WinError 206|Long Path support|filename or extension is too long",
        "A path became longer than Windows allows.",
        "Install Slicer in a short folder such as C:\\Slicer, or choose another Python.",
    ),
    (
        r"WinError 32|WinError 5\b",
        "A file that has to be replaced is in use.",
        "Close every other window of Slicer, restart this one, and install before doing anything else.",
    ),
    (
        r"Permission denied|\[Errno 13\]|not writeable|Read-only file system",
        "The folder of this Python cannot be written.",
        "Start Slicer once as administrator, or choose another Python.",
    ),
    (
        r"externally-managed-environment",
        "This Python belongs to the operating system, which forbids installing into it.",
        "Make a virtual environment and choose its Python.",
    ),
    (
        r"No module named '?pip",
        "This Python has no pip.",
        "Install pip into it, or choose another Python.",
    ),
    (
        r"MemoryError",
        "There was too little memory to unpack a package.",
        "Close other programs, then install again.",
    ),
    (
        r"DO NOT MATCH THE HASHES|is not a valid wheel|BadZipFile|has an invalid wheel|Wheel .* is invalid|zipfile",
        "A downloaded file is damaged.",
        "Install again; from a folder of wheels, copy the wheel again.",
    ),
)
_CONSTRAINT = re.compile(r"The user requested \(constraint\) ([A-Za-z0-9_.-]+)(\S*)")
_NOT_FOUND = re.compile(r"No matching distribution found for (.+)")


@dataclass(frozen=True)
class PipFailure:
    """One failure: what happened, and what to do."""

    message: str
    hint: str

    @classmethod
    def fromOutput(cls, output: str, python: str = "", offline: bool = False) -> PipFailure:
        """Read pip's output. `python` names the interpreter for the user, as in "Python 3.12 on linux-x86_64"."""
        for pattern, message, hint in _CAUSES:
            if re.search(pattern, output):
                return cls(message, hint)
        return _unsolvable(output, python, offline) or cls(
            "pip failed.", f"Its last words: {_lastError(output)}" if output.strip() else "It said nothing."
        )


def _unsolvable(output: str, python: str, offline: bool) -> PipFailure | None:
    """A package asks for what is not there, or for another version of what must stay."""
    kept = sorted({name + found.removesuffix(".") for name, found in _CONSTRAINT.findall(output)})
    if kept:
        return PipFailure(
            f"A package needs another version of what Slicer is built on ({', '.join(kept)}). Nothing was replaced.",
            "Choose another Python for the backend: there, all versions are free.",
        )
    missing = _NOT_FOUND.search(output)
    if missing:
        where = "the folder of wheels" if offline else "the package index"
        hint = "Add it to the folder; the manual has the command." if offline else "Choose a Python of another version."
        return PipFailure(f"There is no wheel of {missing.group(1).strip()} for {python or 'this Python'} in {where}.", hint)
    if "ResolutionImpossible" in output:
        return PipFailure("The packages ask for versions that exclude each other.", "Choose another, empty Python for the backend.")
    return None


def _lastError(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")]
    return (errors or lines)[-1]
