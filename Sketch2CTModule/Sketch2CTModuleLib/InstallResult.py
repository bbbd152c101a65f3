"""How an installation ended."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class InstallResult:
    """`ok`, one line for the user, and what to do when it is not ok."""

    ok: bool
    message: str
    hint: str = ""
