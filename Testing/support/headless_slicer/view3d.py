"""Slicer's 3D view, drawn off screen by its own displayable managers."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray
from vtk.util.numpy_support import vtk_to_numpy

_MANAGERS = (
    "vtkMRMLCameraDisplayableManager",
    "vtkMRMLViewDisplayableManager",
    "vtkMRMLModelDisplayableManager",
    "vtkMRMLThreeDReformatDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager3D",
    "vtkMRMLMarkupsDisplayableManager",
)


class ThreeDView:
    """View node, logic, camera, picture and mouse. Event positions have y *up*, as those of `views.SliceView`."""

    def __init__(self, scene: Any, app_logic: Any, name: str = "1", size: tuple[int, int] = (300, 300)) -> None:
        self.name = name
        self.window = vtk.vtkRenderWindow()
        self.window.SetOffScreenRendering(1)
        self.window.SetMultiSamples(0)
        self.window.SetSize(*size)
        self.renderer = vtk.vtkRenderer()
        self.renderer.SetUseDepthPeeling(True)
        self.window.AddRenderer(self.renderer)
        self.interactor = vtk.vtkGenericRenderWindowInteractor()
        self.interactor.SetRenderWindow(self.window)
        self.interactor.SetSize(*size)
        self._add_node(scene, app_logic, name)
        self._add_managers(app_logic)

    def _add_node(self, scene: Any, app_logic: Any, name: str) -> None:
        self.logic = slicer.vtkMRMLViewLogic()
        self.logic.SetMRMLApplicationLogic(app_logic)
        app_logic.GetViewLogics().AddItem(self.logic)
        self.logic.SetMRMLScene(scene)
        self.node = self.logic.AddViewNode(name)
        self.node.SetLayoutLabel(name)
        self.node.SetMappedInLayout(True)

    def _add_managers(self, app_logic: Any) -> None:
        factory = slicer.vtkMRMLThreeDViewDisplayableManagerFactory.GetInstance()
        factory.SetMRMLApplicationLogic(app_logic)
        for manager in _MANAGERS:
            if not factory.IsDisplayableManagerRegistered(manager):
                factory.RegisterDisplayableManager(manager)
        self.group = slicer.vtkMRMLDisplayableManagerGroup()
        self.group.Initialize(factory, self.renderer)
        self.group.SetMRMLDisplayableNode(self.node)
        self.interactor.SetInteractorStyle(vtk.vtkInteractorStyleUser())
        self.style = slicer.vtkMRMLThreeDViewInteractorStyle()
        self.style.SetDisplayableManagers(self.group)
        self.interactor.Initialize()
        self.style.SetInteractor(self.interactor)

    def close(self) -> None:
        """Take the view out of the layout: it hears no event and shows no node any more."""
        self.style.SetInteractor(None)
        self.group.SetMRMLDisplayableNode(None)
        self.node.SetMappedInLayout(False)
        self.window.Finalize()  # its buffers go now: who still holds the view would keep them

    def resize(self, width: int, height: int) -> None:
        self.window.SetSize(width, height)
        self.interactor.SetSize(width, height)

    @property
    def camera_node(self) -> Any:
        return self.group.GetDisplayableManagerByClassName("vtkMRMLCameraDisplayableManager").GetCameraNode()

    def fit(self) -> None:
        """Centre the camera on all that is shown and keep it all in sight, as "Center view" does; seen from in front."""
        box, labels = self.node.GetBoxVisible(), self.node.GetAxisLabelsVisible()
        self.node.SetBoxVisible(False)
        self.node.SetAxisLabelsVisible(False)
        bounds = [0.0] * 6
        self.renderer.ComputeVisiblePropBounds(bounds)
        if bounds[0] <= bounds[1]:
            middle = [(bounds[n] + bounds[n + 1]) / 2 for n in (0, 2, 4)]
            self.renderer.GetActiveCamera().SetFocalPoint(middle)
            self.renderer.ResetCamera(bounds)
            self.camera_node.RotateTo(slicer.vtkMRMLCameraNode.Anterior)
            self.renderer.ResetCamera(bounds)
        self.node.SetBoxVisible(box)
        self.node.SetAxisLabelsVisible(labels)
        self.renderer.ResetCameraClippingRange()

    def image(self) -> NDArray[np.uint8]:
        """The view as shown, (rows, columns, 3), first row on top."""
        self.render()
        width, height = self.window.GetSize()
        pixels = vtk.vtkUnsignedCharArray()
        self.window.GetPixelData(0, 0, width - 1, height - 1, 0, pixels, 0)
        return vtk_to_numpy(pixels).reshape(height, width, 3)[::-1].copy()

    def render(self) -> None:
        self.window.Render()

    def event(self, name: str, x: int | None = None, y: int | None = None, ctrl: bool = False, shift: bool = False, key: str = "") -> None:
        """One event of VTK, as `views.SliceView.event`."""
        if x is not None and y is not None:
            self.interactor.SetEventInformation(int(x), int(y), int(ctrl), int(shift), chr(0), 0, key or None)
        else:
            self.interactor.SetKeyEventInformation(int(ctrl), int(shift), key[:1] or chr(0), 0, key)
        self.interactor.InvokeEvent(name)
