"""How long the backend may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BackendLimits:
    """In milliseconds: from start to ready; from the cancel to the request to end, from there to the end by force; and
    without work until the backend is stopped, which frees its memory.
    """

    startMs: int = 180_000
    cancelMs: int = 2_000
    terminateMs: int = 500
    idleMs: int = 15 * 60_000
