"""Slicer's slice views, drawn off screen by its own displayable managers and worked with by synthetic mouse events.

Real: node, logic, displayable managers, interactor style, and so what wheel, buttons and modifiers do. Stand-in: the Qt
widget around them. Event positions are the interactor's: x to the right and y *up* from the lower left corner, in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    "vtkMRMLScalarBarDisplayableManager",  # window and level by mouse
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLMarkupsDisplayableManager",
)
LAYOUT = {"Red": "Axial", "Green": "Coronal", "Yellow": "Sagittal"}


class SliceView:
    """One slice view of the desktop's layout: slice node, composite node, logic, picture and mouse."""

    def __init__(self, scene: Any, app_logic: Any, name: str, size: tuple[int, int] = (300, 300), orientation: str = "") -> None:
        self.name = name
        self._open_window(size)
        self._add_node(scene, app_logic, name, orientation or LAYOUT[name])
        self._add_managers(app_logic)
        self._add_style()
        self._add_picture()
        self.logic.ResizeSliceNode(*size)

    def _open_window(self, size: tuple[int, int]) -> None:
        self.window = vtk.vtkRenderWindow()
        self.window.SetOffScreenRendering(1)
        self.window.SetMultiSamples(0)
        self.window.SetNumberOfLayers(2)
        self.window.SetSize(*size)
        self.renderer = vtk.vtkRenderer()
        self.renderer.GetActiveCamera().ParallelProjectionOn()
        self.window.AddRenderer(self.renderer)
        self.interactor = vtk.vtkGenericRenderWindowInteractor()
        self.interactor.SetRenderWindow(self.window)
        self.interactor.SetSize(*size)

    def _add_node(self, scene: Any, app_logic: Any, name: str, orientation: str) -> None:
        self.logic = slicer.vtkMRMLSliceLogic()
        self.logic.SetMRMLApplicationLogic(app_logic)
        app_logic.GetSliceLogics().AddItem(self.logic)
        self.logic.SetMRMLScene(scene)
        self.node = self.logic.AddSliceNode(name)
        self.node.SetLayoutLabel(name[0])
        self.node.SetMappedInLayout(True)
        self.node.SetOrientation(orientation)

    def _add_managers(self, app_logic: Any) -> None:
        factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
        factory.SetMRMLApplicationLogic(app_logic)
        for manager in _MANAGERS:
            if not factory.IsDisplayableManagerRegistered(manager):
                factory.RegisterDisplayableManager(manager)
        self.group = slicer.vtkMRMLDisplayableManagerGroup()
        self.group.Initialize(factory, self.renderer)
        self.group.SetMRMLDisplayableNode(self.node)

    def _add_style(self) -> None:
        # Slicer's style is an observer of the interactor; VTK's default style would keep the button events to itself.
        self.interactor.SetInteractorStyle(vtk.vtkInteractorStyleUser())
        self.style = slicer.vtkMRMLSliceViewInteractorStyle()
        self.style.SetSliceLogic(self.logic)
        self.style.SetDisplayableManagers(self.group)
        self.interactor.Initialize()
        self.style.SetInteractor(self.interactor)

    def _add_picture(self) -> None:
        # The slice logic delivers a picture of the blended volumes; in the desktop a Qt widget puts it on the screen.
        self._mapper = vtk.vtkImageMapper()
        self._mapper.SetColorWindow(255)
        self._mapper.SetColorLevel(127.5)
        self._picture = vtk.vtkActor2D()
        self._picture.SetMapper(self._mapper)
        self._picture.GetProperty().SetDisplayLocationToBackground()
        self._picture.VisibilityOff()
        self.renderer.AddViewProp(self._picture)  # first of all: what comes later is drawn over it

    def close(self) -> None:
        """Take the view out of the layout: it hears no event and shows no node any more."""
        self.style.SetInteractor(None)
        self.group.SetMRMLDisplayableNode(None)
        self.node.SetMappedInLayout(False)
        self.window.Finalize()  # its buffers go now: who still holds the view would keep them

    @property
    def composite(self) -> Any:
        return self.logic.GetSliceCompositeNode()

    def fit(self) -> None:
        self.logic.FitSliceToBackground()

    def resize(self, width: int, height: int) -> None:
        self.window.SetSize(width, height)
        self.interactor.SetSize(width, height)
        self.logic.ResizeSliceNode(width, height)

    def setOffset(self, millimetres: float) -> None:
        """Move the slice along its normal, as the slider of the view does."""
        self.logic.SetSliceOffset(millimetres)

    def setPlane(self, slice_to_ras: NDArray[np.float64]) -> None:
        """Show any plane (4x4 SliceToRAS), oblique ones included."""
        matrix = self.node.GetSliceToRAS()
        matrix.DeepCopy(np.asarray(slice_to_ras, dtype=np.float64).ravel())
        self.node.UpdateMatrices()

    def plane(self) -> NDArray[np.float64]:
        """The plane shown, 4x4 SliceToRAS."""
        return slicer.util.arrayFromVTKMatrix(self.node.GetSliceToRAS())

    def image(self) -> NDArray[np.uint8]:
        """The view as shown, (rows, columns, 3), first row on top."""
        self.render()
        width, height = self.window.GetSize()
        pixels = vtk.vtkUnsignedCharArray()
        self.window.GetPixelData(0, 0, width - 1, height - 1, 0, pixels, 0)
        return vtk_to_numpy(pixels).reshape(height, width, 3)[::-1].copy()

    def render(self) -> None:
        volumes = self.logic.GetImageDataConnection()
        self._mapper.SetInputConnection(volumes)
        self._picture.SetVisibility(bool(volumes))
        self.window.Render()

    def requestRender(self) -> None:
        """As a displayable manager asks for one: who shows the view observes `group`'s UpdateEvent."""
        self.group.RequestRender()

    def to_pixel(self, ras: NDArray[np.float64]) -> tuple[int, int]:
        """(row, column) in `image()` of a RAS position (mm)."""
        inverse = vtk.vtkMatrix4x4()
        vtk.vtkMatrix4x4.Invert(self.node.GetXYToRAS(), inverse)
        x, y = inverse.MultiplyPoint((*ras, 1.0))[:2]
        return round(self.window.GetSize()[1] - 1 - y), round(x)

    def xy_to_ras(self, x: float, y: float) -> NDArray[np.float64]:
        """RAS position (mm) of an event position."""
        return np.array(self.node.GetXYToRAS().MultiplyPoint((x, y, 0.0, 1.0))[:3])

    def ras_to_xy(self, ras: NDArray[np.float64]) -> tuple[int, int]:
        """The nearest event position of a RAS position (mm)."""
        row, column = self.to_pixel(ras)
        return column, self.window.GetSize()[1] - 1 - row

    def event(self, name: str, x: int | None = None, y: int | None = None, ctrl: bool = False, shift: bool = False, key: str = "") -> None:
        """One event of VTK, for example `event("LeftButtonPressEvent", 10, 20, ctrl=True)` or `event("KeyPressEvent", key="Escape")`."""
        if x is not None and y is not None:
            self.interactor.SetEventInformation(int(x), int(y), int(ctrl), int(shift), chr(0), 0, key or None)
        else:
            self.interactor.SetKeyEventInformation(int(ctrl), int(shift), key[:1] or chr(0), 0, key)
        self.interactor.InvokeEvent(name)

    def move(self, x: int, y: int, **modifiers: bool) -> None:
        self.event("MouseMoveEvent", x, y, **modifiers)

    def press(self, x: int, y: int, button: str = "Left", **modifiers: bool) -> None:
        self.event(f"{button}ButtonPressEvent", x, y, **modifiers)

    def release(self, x: int, y: int, button: str = "Left", **modifiers: bool) -> None:
        self.event(f"{button}ButtonReleaseEvent", x, y, **modifiers)

    def click(self, x: int, y: int, button: str = "Left", **modifiers: bool) -> None:
        self.drag([(x, y)], button, **modifiers)

    def drag(self, path: Sequence[tuple[int, int]], button: str = "Left", **modifiers: bool) -> None:
        """Move to the path's start, press, follow it, release at its end."""
        self.move(*path[0], **modifiers)
        self.press(*path[0], button, **modifiers)
        for x, y in path[1:]:
            self.move(x, y, **modifiers)
        self.release(*path[-1], button, **modifiers)


def open_layout(scene: Any, app_logic: Any, size: tuple[int, int] = (300, 300)) -> dict[str, SliceView]:
    """The three slice views of the desktop, by name. Like there, they exist before a scene is loaded."""
    if not scene.GetFirstNodeByClass("vtkMRMLCrosshairNode"):
        scene.AddNewNodeByClass("vtkMRMLCrosshairNode", "Crosshair").SetSingletonTag("default")
    return {name: SliceView(scene, app_logic, name, size) for name in LAYOUT}


def save_row(views: list[SliceView], path: Path) -> NDArray[np.uint8]:
    """The views side by side, written as a PNG; returns the picture (rows, columns, 3)."""
    from PIL import Image

    picture = np.concatenate([view.image() for view in views], axis=1)
    Image.fromarray(picture).save(path)
    return picture
