"""How fast a result comes onto the screen, and how exactly it lies there. Needs slicer-core; `python loading_bench.py` prints it."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

SLICE_VIEW = (600, 600)  # pixels


def loading_figures(folder: Path | None = None) -> dict[str, float]:
    """Seconds from a result folder to nodes with surfaces (`nodes_s`) and to three drawn slice views (`screen_s`), and the
    largest distance in mm of a corner voxel of the CT and of the mask from where the file's header has it.

    Without `folder` the result has the shipped bundle's frame and all its structures. Starts an application of its own.
    """
    from headless_slicer import bootstrap
    from headless_slicer.views import open_layout

    with tempfile.TemporaryDirectory() as work:
        folder = folder or average_result(Path(work) / "result")
        application = bootstrap(Path(work))
        try:
            views = open_layout(application.scene, application.app_logic, SLICE_VIEW)
            for view in views.values():
                view.image()  # the windows are open before a result comes
            return _measured(folder, list(views.values()))
        finally:
            application.close()


def average_result(folder: Path) -> Path:
    """A result folder on the shipped bundle's frame whose mask is the bundle's guide: every structure, real shapes."""
    from result_folders import write_result
    from sketch2ct.framing import bundle_frame
    from sketch2ct.imaging import read_labels, resample
    from sketch2ct.request import GenerationRequest
    from sketch2ct.resources import resources_dir

    bundle = resources_dir() / "Bundles" / "headneck"
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text(encoding="utf-8"))
    frame = bundle_frame(GenerationRequest(description="all"), metadata)
    names = {value: name for value, name in enumerate(metadata["structures"], start=1)}
    guide = read_labels(bundle / "guide.nii.gz", names)
    labels = resample(guide.array, guide.grid, frame, order=0)
    labels[labels > len(names)] = 0
    return write_result(folder, frame, labels, names, sketches=[], description="all structures")


def _measured(folder: Path, views: list[Any]) -> dict[str, float]:
    import slicer

    from sketch2ct.request import GenerationRequest
    from Sketch2CTModuleLib.ResultLoader import ResultLoader
    from Sketch2CTModuleLib.SampleSwitcher import SampleSwitcher
    from Sketch2CTModuleLib.ViewFitter import ViewFitter

    started = time.perf_counter()
    run = ResultLoader(slicer.mrmlScene).load([folder])
    loaded = time.perf_counter()
    (sample,) = run.samples
    SampleSwitcher(run).show(0)
    ViewFitter().fit(GenerationRequest.from_dict(sample.request).sketches, sample.segmentation, sample.volume)
    for view in views:
        view.image()
    drawn = time.perf_counter()
    return {
        "segments": sample.segmentation.GetSegmentation().GetNumberOfSegments(),
        "nodes_s": loaded - started,
        "screen_s": drawn - started,
        "ct_deviation_mm": _deviation(_volume_matrix(sample.volume), folder / "ct.nii.gz"),
        "mask_deviation_mm": _deviation(_mask_matrix(sample.segmentation), folder / "labels.nii.gz"),
    }


def _volume_matrix(volume: Any) -> Any:
    import vtk

    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return matrix


def _mask_matrix(segmentation: Any) -> Any:
    import vtk

    matrix = vtk.vtkMatrix4x4()
    first = segmentation.GetSegmentation().GetNthSegmentID(0)
    segmentation.GetBinaryLabelmapInternalRepresentation(first).GetImageToWorldMatrix(matrix)
    return matrix


def _deviation(matrix: Any, file: Path) -> float:
    """Of a node's matrix from a file's header, mm, over the corner voxels; the grid must be right-handed."""
    import nibabel as nib
    import slicer

    from sketch2ct.geometry import Grid

    image = nib.load(file)
    node = Grid(image.shape, slicer.util.arrayFromVTKMatrix(matrix))
    return float(np.linalg.norm(node.corners() - Grid(image.shape, image.affine).corners(), axis=1).max())


if __name__ == "__main__":
    for name, value in loading_figures().items():
        print(f"{name:20} {value:.3g}")
