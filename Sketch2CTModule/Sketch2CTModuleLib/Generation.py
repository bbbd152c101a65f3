"""One run: the request goes to the backend, progress comes back, the result becomes nodes of the scene."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from pathlib import Path
from typing import Any

import slicer

from sketch2ct.errors import BadRequest, Sketch2CTError
from sketch2ct.request import Sketch

from .BackendProcess import BackendProcess
from .LabelExport import LabelExport
from .RequestBuilder import buildRequest, resultName
from .ResultLoader import ResultLoader
from .Signal import Signal


class Generation:
    """Starts runs, one at a time, and loads what they make.

    Signals: `stateChanged()`; `progress(stage, fraction, etaS)`, fraction 0 to 1, etaS seconds or None; `finished(run)` with
    the loaded Run; `failed(code, message, hint)`, `code` "cancelled" after the user's own cancel.
    """

    def __init__(self, backend: Any = None, loader: Any = None, export: Any = None) -> None:
        self.stateChanged, self.progress, self.finished, self.failed = Signal(), Signal(), Signal(), Signal()
        self.backend = backend or BackendProcess()
        self._loader = loader or ResultLoader(slicer.mrmlScene)
        self._export = export or LabelExport()
        self._given: str | None = None  # ID of the segmentation that the CT is made from
        self._scratch: Path | None = None
        self.loading = False
        self._hasGpu = False
        self.backend.ready.connect(self._onReady)
        self.backend.stateChanged.connect(self._onStateChanged)
        self.backend.progress.connect(self._onProgress)
        self.backend.finished.connect(self._onFinished)
        self.backend.failed.connect(self._onFailed)

    @property
    def busy(self) -> bool:
        """Whether a run is under way, its cancelling included."""
        return self.loading or self.backend.busy

    @property
    def cancelling(self) -> bool:
        """Whether the run was asked to stop and has not yet."""
        return self.backend.state == "cancelling"

    def usesGpu(self, device: str) -> bool:
        """Whether a run on `device`, as the parameters name it, computes on a GPU; False before the backend has told."""
        return self._hasGpu and device != "cpu"

    def start(self, parameters: Any, sketches: list[Sketch], resultsFolder: Path) -> Path:
        """Begin a run; the folder that its result will be in. Raises BadRequest for what can be told at once."""
        if self.busy:
            raise BadRequest("A generation is running already.", "Wait until it is done, or cancel it.")
        context, self._given = None, None
        if parameters.startMask is not None:
            context, names = self._exported(parameters.startMask)
            sketches = [sketch for sketch in sketches if sketch.structure in names]
        request = buildRequest(parameters, sketches, context)
        if parameters.startMask is not None:
            self._given = parameters.startMask.GetID()
        try:
            out = _unused(resultsFolder / resultName(request))
        except OSError as error:
            hint = "Choose another folder for results in the section Advanced."
            raise BadRequest(f"The folder {resultsFolder} cannot be used: {error.strerror}.", hint) from error
        self.backend.generate(request.to_dict(), str(out))
        return out

    def cancel(self) -> None:
        """Ask the run to stop; `failed` with the code "cancelled" follows."""
        self.backend.cancel()

    def warmUp(self) -> None:
        """Start the backend ahead of the first run, so that its start-up time is over by then."""
        if self.backend.state == "stopped":
            self.backend.start()

    def close(self) -> None:
        """Stop the backend and forget the listeners."""
        for signal in (self.stateChanged, self.progress, self.finished, self.failed):
            signal.disconnectAll()
        self.backend.stop()
        self.backend.ready.disconnect(self._onReady)
        self._clearScratch()

    def _exported(self, segmentation: slicer.vtkMRMLSegmentationNode) -> tuple[Path, set[str]]:
        """The segmentation as a label map in a folder of our own, and the names of its structures."""
        self._clearScratch()
        self._scratch = Path(tempfile.mkdtemp(prefix="sketch2ct-", dir=slicer.app.temporaryPath))
        labels = self._export.write(segmentation, self._scratch)
        return labels, set(json.loads((self._scratch / "labels.json").read_text(encoding="utf-8")).values())

    def _clearScratch(self) -> None:
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)
            self._scratch = None

    def _onReady(self, info: dict[str, Any]) -> None:
        self._hasGpu = any(item.get("name", "").startswith("cuda") for item in info.get("devices", []))

    def _onStateChanged(self, _state: str) -> None:
        self.stateChanged.emit()

    def _onProgress(self, stage: str, _step: int, _steps: int, fraction: float, etaS: float | None) -> None:
        self.progress.emit(stage, fraction, etaS)

    def _onFinished(self, _folder: str, samples: list[str]) -> None:
        self._clearScratch()
        given = slicer.mrmlScene.GetNodeByID(self._given) if self._given else None
        self.loading = True
        self.stateChanged.emit()
        signal, values = self._loaded(samples, given)
        self.loading = False
        signal.emit(*values)
        self.stateChanged.emit()

    def _loaded(self, samples: list[str], given: Any) -> tuple[Signal, tuple[Any, ...]]:
        """What to tell the listeners after loading: `finished` with the run, or `failed` with the reason."""
        try:
            return self.finished, (self._loader.load([Path(sample) for sample in samples], segmentation=given),)
        except Sketch2CTError as error:
            return self.failed, (error.code, error.message, error.hint)
        except Exception as error:
            logging.exception("Loading a result failed")
            return self.failed, ("internal", f"The result could not be loaded: {error}.", f"Its files are in {samples[0]}.")

    def _onFailed(self, error: Any) -> None:
        self._clearScratch()
        self.failed.emit(error.code, error.message, error.hint)
        self.stateChanged.emit()


def _unused(folder: Path) -> Path:
    """`folder`, or the next free name after it."""
    number, free = 2, folder
    while free.exists():
        free, number = folder.with_name(f"{folder.name}-{number}"), number + 1
    return free
