"""Parameters and sketches -> the request that goes to the backend, and the name of the folder for its result."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import slicer
import vtk

from sketch2ct.anatomy import find
from sketch2ct.errors import BadRequest
from sketch2ct.geometry import Grid
from sketch2ct.pairing import completing
from sketch2ct.request import NONE, WHOLE_REGION, GenerationRequest, Sketch

from .BundleList import volumeBundle
from .Parameters import QUALITY_STEPS


def buildRequest(parameters: Any, sketches: list[Sketch], context: Path | None = None) -> GenerationRequest:
    """The request that the parameters and sketches stand for; with `context`, a CT of that label map is asked for.

    Raises BadRequest, or BundleMissing when the surroundings are to be completed and no installed bundle can.
    """
    given = context is not None
    volumeGenerator = NONE if parameters.maskFirst and not given else parameters.volumeGenerator
    return GenerationRequest(
        sketches=sketches,
        description=parameters.description.strip(),
        grid=None if given or parameters.frameVolume is None else gridOf(parameters.frameVolume),
        context=str(context) if given else None,
        mask_generator=NONE if given else parameters.maskGenerator,
        volume_generator=volumeGenerator,
        bundle=parameters.bundle,
        seed=parameters.seed,
        samples=parameters.samples,
        steps=QUALITY_STEPS[parameters.quality],
        device=parameters.device,
        surroundings=_surroundings(parameters),
        volume_bundle=None if volumeGenerator == NONE else volumeBundle(parameters.bundle, volumeGenerator),
    )


def _surroundings(parameters: Any) -> str | None:
    """The bundle that completes the surroundings, if that is wanted; what makes whole regions anyway needs none."""
    wanted = parameters.completeSurroundings and parameters.maskGenerator not in WHOLE_REGION
    return completing(parameters.bundle) if wanted else None


def gridOf(volume: slicer.vtkMRMLVolumeNode) -> Grid:
    """The voxel grid of a volume node, parent transforms included; RAS mm. Raises BadRequest when it has none."""
    name = f"The frame volume '{volume.GetName()}'"
    if volume.GetImageData() is None:
        raise BadRequest(f"{name} is empty.", "Choose another volume as the frame, or none.")
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    parent = volume.GetParentTransformNode()
    if parent is not None:
        if not parent.IsTransformToWorldLinear():
            raise BadRequest(f"{name} is under a transform that bends it.", "Harden the transform, or choose another frame.")
        toWorld = vtk.vtkMatrix4x4()
        parent.GetMatrixTransformToWorld(toWorld)
        vtk.vtkMatrix4x4.Multiply4x4(toWorld, matrix, matrix)
    shape = volume.GetImageData().GetDimensions()
    try:
        return Grid(shape, slicer.util.arrayFromVTKMatrix(matrix))
    except ValueError as error:
        raise BadRequest(f"{name} has no usable geometry: {error}", "Choose another volume as the frame, or none.") from error


def resultName(request: GenerationRequest, now: float | None = None) -> str:
    """A folder name that sorts by time and says what is inside, for example `20260131-142530-mandible-seed7`."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(now))
    named = request.structures() or find(request.description) or ["mask"]
    what = "-".join(named) if len(named) < 3 else f"{named[0]}-and-{len(named) - 1}-more"
    return f"{stamp}-{re.sub(r'[^a-z0-9_-]', '', what)}-seed{request.seed}"
