"""Slicer's slice views, drawn off screen by its own displayable managers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray
from vtk.util.numpy_support import vtk_to_numpy

_MANAGERS = (
    "vtkMRMLModelSliceDisplayableManager",
    "vtkMRMLCrosshairDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLMarkupsDisplayableManager",
)
LAYOUT = {"Red": "Axial", "Green": "Coronal", "Yellow": "Sagittal"}


class SliceView:
    """One slice view of the desktop's layout: slice node, composite node, logic and picture."""

    def __init__(self, scene: Any, app_logic: Any, name: str, size: tuple[int, int] = (300, 300)) -> None:
        self._window = vtk.vtkRenderWindow()
        self._window.SetOffScreenRendering(1)
        self._window.SetMultiSamples(0)
        self._window.SetNumberOfLayers(2)
        self._window.SetSize(*size)
        self._renderer = vtk.vtkRenderer()
        self._renderer.GetActiveCamera().ParallelProjectionOn()
        self._window.AddRenderer(self._renderer)
        self._interactor = vtk.vtkGenericRenderWindowInteractor()  # widgets ask the renderer for one
        self._interactor.SetRenderWindow(self._window)
        self._interactor.SetSize(*size)

        self._logic = slicer.vtkMRMLSliceLogic()
        self._logic.SetMRMLApplicationLogic(app_logic)
        app_logic.GetSliceLogics().AddItem(self._logic)
        self._logic.SetMRMLScene(scene)
        self.node = self._logic.AddSliceNode(name)
        self.node.SetMappedInLayout(True)
        self.node.SetOrientation(LAYOUT[name])

        factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
        factory.SetMRMLApplicationLogic(app_logic)
        for manager in _MANAGERS:
            if not factory.IsDisplayableManagerRegistered(manager):
                factory.RegisterDisplayableManager(manager)
        self._group = slicer.vtkMRMLDisplayableManagerGroup()
        self._group.Initialize(factory, self._renderer)
        self._group.SetMRMLDisplayableNode(self.node)

        # The slice logic delivers a picture of the blended volumes; in the desktop a Qt widget puts it on the screen.
        self._mapper = vtk.vtkImageMapper()
        self._mapper.SetColorWindow(255)
        self._mapper.SetColorLevel(127.5)
        self._picture = vtk.vtkActor2D()
        self._picture.SetMapper(self._mapper)
        self._picture.GetProperty().SetDisplayLocationToBackground()
        self._logic.ResizeSliceNode(*size)

    @property
    def composite(self) -> Any:
        return self._logic.GetSliceCompositeNode()

    def fit(self) -> None:
        self._logic.FitSliceToBackground()

    def image(self) -> NDArray[np.uint8]:
        """The view as shown, (rows, columns, 3), first row on top."""
        volumes = self._logic.GetImageDataConnection()
        self._mapper.SetInputConnection(volumes)
        if volumes and not self._renderer.HasViewProp(self._picture):
            self._renderer.AddViewProp(self._picture)
        self._window.Render()
        width, height = self._window.GetSize()
        pixels = vtk.vtkUnsignedCharArray()
        self._window.GetPixelData(0, 0, width - 1, height - 1, 0, pixels, 0)
        return vtk_to_numpy(pixels).reshape(height, width, 3)[::-1].copy()

    def to_pixel(self, ras: NDArray[np.float64]) -> tuple[int, int]:
        """(row, column) in `image()` of a RAS position (mm)."""
        inverse = vtk.vtkMatrix4x4()
        vtk.vtkMatrix4x4.Invert(self.node.GetXYToRAS(), inverse)
        x, y = inverse.MultiplyPoint((*ras, 1.0))[:2]
        return round(self._window.GetSize()[1] - 1 - y), round(x)


def open_layout(scene: Any, app_logic: Any, size: tuple[int, int] = (300, 300)) -> dict[str, SliceView]:
    """The three slice views of the desktop, by name. Like there, they exist before a scene is loaded."""
    return {name: SliceView(scene, app_logic, name, size) for name in LAYOUT}


def save_row(views: list[SliceView], path: Path) -> NDArray[np.uint8]:
    """The views side by side, written as a PNG; returns the picture (rows, columns, 3)."""
    from PIL import Image

    picture = np.concatenate([view.image() for view in views], axis=1)
    Image.fromarray(picture).save(path)
    return picture
