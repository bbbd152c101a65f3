"""The scene that `make demo` leaves, made with the shipped weights and opened by Slicer's own classes."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import slicer

from sketch2ct.engine import Engine
from sketch2ct.export.scene import write_scene
from sketch2ct.request import GenerationRequest
from sketch2ct.resources import resources_dir


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    request = GenerationRequest.read(resources_dir() / "Samples" / "mandible.json")
    return Engine().generate(request, tmp_path_factory.mktemp("demo") / "demo-output")[0]


def test_the_demo_scene_opens_with_its_ct_mandible_and_sketch(slicer_app, demo):
    slicer.util.loadScene(str(write_scene(demo, demo / "scene.mrb")))
    (volume,) = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    (segmentation,) = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    (curve,) = slicer.util.getNodesByClass("vtkMRMLMarkupsClosedCurveNode")
    ct = np.asarray(nib.load(demo / "ct.nii.gz").dataobj)
    assert np.array_equal(np.sort(slicer.util.arrayFromVolume(volume), axis=None), np.sort(ct, axis=None))
    assert np.allclose(volume.GetSpacing(), (4, 4, 3), atol=1e-3)
    (segment,) = segmentation.GetSegmentation().GetSegmentIDs()
    voxels = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segment, volume)
    assert voxels.sum() == np.asarray(nib.load(demo / "labels.nii.gz").dataobj).astype(bool).sum()
    assert slicer.util.arrayFromVolume(volume)[voxels > 0].mean() > 300  # bone under the segment, voxel for voxel
    drawn = GenerationRequest.read(demo / "request.json").sketches[0].strokes[0]
    assert np.abs(slicer.util.arrayFromMarkupsControlPoints(curve, world=True) - drawn).max() < 1e-3
