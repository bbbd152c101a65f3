"""Is what the backend calls a result one?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .BackendError import BackendError

_MANIFEST = "manifest.json"
_HINT = "Run it again; if it happens again, send the log with a report."


def sampleFolders(message: dict[str, Any]) -> list[str]:
    """The sample folders of a `result` message, each with a manifest that says that it is synthetic. Raises BackendError."""
    samples = message.get("samples")
    if not isinstance(samples, list) or not samples or not all(isinstance(sample, str) for sample in samples):
        raise BackendError("internal", "The backend reported a result without samples.", _HINT)
    for sample in samples:
        _check(Path(sample) / _MANIFEST)
    return samples


def _check(path: Path) -> None:
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BackendError("internal", f"The result has no readable {path.name}: {error}.", _HINT) from error
    if not isinstance(manifest, dict) or manifest.get("synthetic") is not True:
        raise BackendError("internal", f"{path} does not say that the result is synthetic.", _HINT)
