"""A quick stand-in of the backend for the self-test: an ellipsoid through the strokes, within the application's own process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import slicer

from sketch2ct.framing import bundle_frame
from sketch2ct.geometry import Grid
from sketch2ct.request import NONE, GenerationRequest

from .BackendError import BackendError
from .BundleList import bundleMetadata
from .OneShot import OneShot
from .Signal import Signal

_STAGES = ("load", "mask", "volume", "write")
_STEP_MS = 20


class SelfTestBackend:
    """Has what `BackendProcess` offers to `Generation`; needs no package that Slicer does not bring."""

    def __init__(self) -> None:
        self.stateChanged, self.ready, self.progress, self.finished, self.failed, self.log = (Signal() for _ in range(6))
        self.state = "stopped"
        self._stage = 0
        self._job: tuple[GenerationRequest, Path] | None = None
        self._timer = OneShot(self._step, _STEP_MS)

    @property
    def busy(self) -> bool:
        """Whether a job is open."""
        return self._job is not None

    def start(self) -> None:
        """Be ready at once."""
        self._setState("ready")
        self.ready.emit({"devices": []})

    def generate(self, request: dict[str, Any], out: str | Path, replace: bool = False) -> int:
        """Go through the stages, a step each."""
        self.start()
        self._job, self._stage = (GenerationRequest.from_dict(request), Path(out)), 0
        self._setState("busy")
        self._timer.start()
        return 1

    def cancel(self) -> None:
        """Take the job back."""
        if self._job is not None:
            self.stop()
            self.failed.emit(BackendError.cancelled())

    def stop(self) -> None:
        """Forget the job."""
        self._timer.stop()
        self._job = None
        self._setState("stopped")

    def logText(self) -> str:
        """Nothing is written."""
        return ""

    def _setState(self, state: str) -> None:
        self.state = state
        self.stateChanged.emit(state)

    def _step(self) -> None:
        assert self._job is not None
        if self._stage < len(_STAGES):
            self.progress.emit(_STAGES[self._stage], 1, 1, (self._stage + 1) / len(_STAGES), 0.1)
            self._stage += 1
            self._timer.start()
            return
        (request, out), self._job = self._job, None
        samples = [out / f"sample-{n + 1:03d}" for n in range(request.samples)] if request.samples > 1 else [out]
        for number, folder in enumerate(samples):
            writeEllipsoid(folder, request, request.seed + number)
        self._setState("ready")
        self.finished.emit(str(out), [str(folder) for folder in samples])


def writeEllipsoid(folder: Path, request: GenerationRequest, seed: int) -> None:
    """Write a result folder whose mask is an ellipsoid through the strokes and whose CT is bone in soft tissue."""
    folder.mkdir(parents=True)
    metadata = bundleMetadata(request.bundle)
    grid = request.grid or bundle_frame(request, metadata)
    structure, points = request.structures()[0], request.sketches[0].points()
    low, high = points.min(axis=0), points.max(axis=0)
    radius = np.maximum((high - low) / 2, 0.4 * float((high - low).max()))
    inside = (((grid.voxel_centres() - (low + high) / 2) / radius) ** 2).sum(axis=-1) <= 1
    value = metadata["structures"].index(structure) + 1
    _writeImage(folder / "labels.nii.gz", (inside * value).astype(np.uint8), grid)
    if request.volume_generator != NONE:
        _writeImage(folder / "ct.nii.gz", np.where(inside, 700, 40).astype(np.int16), grid)
    (folder / "labels.json").write_text(json.dumps({str(value): structure}))
    request.write(folder / "request.json")
    volume = float(inside.sum()) * grid.voxel_ml
    manifest = {"synthetic": True, "bundle": request.bundle, "bundle_hash": "self-test", "seed": seed, "device": "self-test"}
    quality = {"sketches": [], "structures": {structure: {"volume_ml": volume}}, "warnings": []}
    (folder / "manifest.json").write_text(json.dumps(manifest | {"seconds": {}, "versions": {}, "quality": quality}))


def _writeImage(path: Path, array: np.ndarray, grid: Grid) -> None:
    node = slicer.vtkMRMLScalarVolumeNode()
    slicer.util.updateVolumeFromArray(node, np.ascontiguousarray(array.T))
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(grid.affine))
    storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
    storage.SetFileName(str(path))
    if not storage.WriteData(node):
        raise OSError(f"Cannot write {path}.")
