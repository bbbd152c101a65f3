"""What runs on a node of a Ray cluster: one engine, which sends each finished result folder as the bytes of a zip."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .. import bundle, errors
from ..disk import writing
from ..errors import BundleCorrupt, Sketch2CTError
from ..request import GenerationRequest
from .runner import Generates

SAME_EVERYWHERE = "Install the same version of sketch2ct, and the same bundle, on every node."


class CaseMaker:
    """An actor. Errors travel as class, message and hint, so that the driver can tell them apart."""

    def __init__(self, engine: Callable[[], Generates], name: str, digest: str) -> None:
        self._new, self._name, self._digest = engine, name, digest
        self._engine: Generates | None = None

    def ready(self) -> dict[str, Any]:
        """Get the engine, and look that this node has the cohort's bundle; nothing, or the error."""
        try:
            found = bundle.load(self._name).digest
            if found != self._digest:
                told = f"A node has another version of the bundle '{self._name}' ({found[:12]}, not {self._digest[:12]})."
                raise BundleCorrupt(told, SAME_EVERYWHERE)
            self._engine = self._new()
        except Exception as error:
            return _answer(error)
        return {}

    def make(self, request: dict[str, Any]) -> dict[str, Any]:
        """The result folder of a request as a zip, or the error."""
        assert self._engine is not None, "ready comes first"
        folder = Path(tempfile.mkdtemp(prefix="sketch2ct-"))
        try:
            self._engine.generate(GenerationRequest.from_dict(request), folder / "case")
            return {"zip": _packed(folder / "case")}
        except Exception as error:
            return _answer(error)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _answer(error: Exception) -> dict[str, Any]:
    if isinstance(error, Sketch2CTError):
        return {"error": type(error).__name__, "message": error.message, "hint": error.hint}
    return {"error": "Sketch2CTError", "message": f"{type(error).__name__}: {error}", "hint": ""}


def error_of(answer: dict[str, Any]) -> Sketch2CTError:
    """The error that an actor met, as the class it had there."""
    kind: type[Sketch2CTError] = getattr(errors, answer["error"], Sketch2CTError)
    return kind(answer["message"], answer["hint"])


def _packed(folder: Path) -> bytes:
    """A folder of files as the bytes of a zip; images are compressed already."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, path.name)
    return stream.getvalue()


def unpacked(data: bytes, folder: Path) -> None:
    """The zip's files in `folder`, on the disk when this returns. Raises WriteFailed."""
    with writing(folder.parent), zipfile.ZipFile(io.BytesIO(data)) as archive:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name in archive.namelist():
            with (folder / Path(name).name).open("wb") as stream:
                stream.write(archive.read(name))
                stream.flush()
                os.fsync(stream.fileno())
