"""An exported CT series, read by Slicer's own reader of DICOM, lies where the generated CT lies."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
import slicer.util
import vtk

from export_cases import GRIDS, add_case, start_cohort
from headless_slicer import HeadlessSlicer
from sketch2ct.export.options import Options
from sketch2ct.export.run import export
from sketch2ct.imaging import read_ct


@pytest.mark.parametrize("kind", GRIDS)
def test_slicer_reads_the_series_with_every_voxel_in_its_place(slicer_app: HeadlessSlicer, tmp_path, kind):
    root = start_cohort(tmp_path / "cohort", 1)
    add_case(root, 1, GRIDS[kind]())
    export(root, tmp_path / "out", Options("dicom", "all"))
    files = sorted(map(str, (tmp_path / "out" / "case-00001" / "ct").iterdir()), reverse=True)  # the reader puts them in order
    names = vtk.vtkStringArray()
    for file in files:
        names.InsertNextValue(file)
    logic = slicer_app.app_logic.GetModuleLogic("Volumes")
    node = logic.AddArchetypeVolume(files[0], "ct", 0, names)
    assert node is not None
    ct = read_ct(root / "cases" / "case-00001" / "ct.nii.gz")
    matrix = slicer.util.arrayFromVTKMatrix(vtk_matrix(node))
    found = slicer.util.arrayFromVolume(node)  # (k, j, i)
    k, j, i = (part.ravel() for part in np.indices(found.shape))
    ras = np.stack([i, j, k], axis=1) @ matrix[:3, :3].T + matrix[:3, 3]
    index = ct.grid.to_index(ras)
    nearest = np.round(index).astype(int)
    assert np.abs((index - nearest) * ct.grid.spacing).max() < 1e-3, "the geometry is off by more than a micrometre"
    assert found.size == ct.array.size
    assert np.array_equal(ct.array[tuple(nearest.T)], found.ravel())


def vtk_matrix(node: slicer.vtkMRMLScalarVolumeNode) -> vtk.vtkMatrix4x4:
    """Voxel index -> RAS mm of a volume node."""
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return matrix
