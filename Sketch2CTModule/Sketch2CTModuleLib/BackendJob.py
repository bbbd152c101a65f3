"""One generation, as the backend is asked for it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class BackendJob:
    """`id`; the `request` as JSON data; the folder `out` for the result; whether it may `replace` a result that is there."""

    id: int
    request: dict[str, Any]
    out: Path
    replace: bool

    def message(self) -> dict[str, Any]:
        """The line of the worker protocol."""
        return {"type": "generate", "id": self.id, "request": self.request, "out": str(self.out), "replace": self.replace}

    def discard(self) -> None:
        """Remove a result that nobody wants any more; one that may have replaced another stays."""
        if not self.replace:
            shutil.rmtree(self.out, ignore_errors=True)

    def clearAfter(self, pid: Any) -> None:
        """Remove what a worker that was ended by force left half written: the hidden folder beside `out` that has its number."""
        shutil.rmtree(self.out.with_name(f".{self.out.name}.partial-{pid}"), ignore_errors=True)
