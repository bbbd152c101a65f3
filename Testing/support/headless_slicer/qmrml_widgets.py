"""Stand-ins for the other qMRML and qSlicer widgets. The Segment Editor's effects are missing: they need the desktop."""

from __future__ import annotations

from typing import Any

import slicer
import vtk
from PySide6 import QtGui
from PySide6.QtCore import Property, Signal
from PySide6.QtWidgets import QDoubleSpinBox, QHBoxLayout, QPushButton, QTableWidget, QTableWidgetItem, QToolButton, QWidget

from .ctk_widgets import ctkCollapsibleButton, ctkRangeWidget, ctkSliderWidget
from .qmrml_selectors import SceneHolder
from .stored_property import stored


class qMRMLWidget(SceneHolder, QWidget):
    CPP_SIGNALS = ("mrmlSceneChanged(vtkMRMLScene*)",)
    mrmlSceneChanged = Signal(object)


class qSlicerWidget(qMRMLWidget):
    pass


class qMRMLCollapsibleButton(SceneHolder, ctkCollapsibleButton):
    pass


class qMRMLSliderWidget(SceneHolder, ctkSliderWidget):
    pass


class qMRMLRangeWidget(SceneHolder, ctkRangeWidget):
    pass


class qMRMLSpinBox(SceneHolder, QDoubleSpinBox):
    quantity = stored(str, "quantity", "")
    unitAwareProperties = stored(int, "unitAwareProperties", 0)


class qMRMLSegmentationShow3DButton(SceneHolder, QPushButton):
    """Checked: the segmentation has closed surfaces and shows them in 3D."""

    CPP_SIGNALS = ()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Show 3D", parent)
        self._node = None
        self.setCheckable(True)
        self.setEnabled(False)
        self.clicked.connect(self._on_clicked)

    def segmentationNode(self) -> Any:
        return self._node

    def setSegmentationNode(self, node: Any) -> None:
        self._node = node
        self.setEnabled(node is not None)
        self.setChecked(node is not None and node.GetSegmentation().ContainsRepresentation("Closed surface"))

    def _on_clicked(self, checked: bool) -> None:
        if checked:
            self._node.CreateClosedSurfaceRepresentation()
        else:
            self._node.RemoveClosedSurfaceRepresentation()


class qMRMLMarkupsPlaceWidget(SceneHolder, QWidget):
    """The button that starts and ends placing points of a markups node."""

    CPP_SIGNALS = ("activeMarkupsFiducialPlaceModeChanged(bool)", "activeMarkupsPlaceModeChanged(bool)")
    activeMarkupsFiducialPlaceModeChanged = Signal(bool)
    activeMarkupsPlaceModeChanged = Signal(bool)
    ShowPlaceMultipleMarkupsOption, HidePlaceMultipleMarkupsOption, ForcePlaceSingleMarkup, ForcePlaceMultipleMarkups = range(4)
    placeMultipleMarkups = stored(int, "placeMultipleMarkups", 1)
    buttonsVisible = stored(bool, "buttonsVisible", True)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._node = None
        self._button = QToolButton()
        self._button.setCheckable(True)
        self._button.setText("Place")
        self._button.clicked.connect(self.setPlaceModeEnabled)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._button)

    def currentNode(self) -> Any:
        return self._node

    def setCurrentNode(self, node: Any) -> None:
        self._node = node

    def placeButton(self) -> QToolButton:
        return self._button

    def _singleton(self, kind: str) -> Any:
        return self.mrmlScene().GetNodeByID(f"vtkMRML{kind}NodeSingleton")

    def _placing(self) -> bool:
        if self._node is None or self.mrmlScene() is None:
            return False
        placing = self._singleton("Interaction").GetCurrentInteractionMode() == slicer.vtkMRMLInteractionNode.Place
        return placing and self._singleton("Selection").GetActivePlaceNodeID() == self._node.GetID()

    def setPlaceModeEnabled(self, enabled: bool) -> None:
        if self._node is None:
            return
        interaction = self._singleton("Interaction")
        if enabled:
            selection = self._singleton("Selection")
            selection.SetReferenceActivePlaceNodeClassName(self._node.GetClassName())
            selection.SetActivePlaceNodeID(self._node.GetID())
            interaction.SetPlaceModePersistence(self.placeMultipleMarkups == self.ForcePlaceMultipleMarkups)
            interaction.SetCurrentInteractionMode(slicer.vtkMRMLInteractionNode.Place)
        else:
            interaction.SetCurrentInteractionMode(slicer.vtkMRMLInteractionNode.ViewTransform)
        self._button.setChecked(self._placing())
        self.activeMarkupsPlaceModeChanged.emit(self._placing())
        self.activeMarkupsFiducialPlaceModeChanged.emit(self._placing())

    placeModeEnabled = Property(bool, _placing, setPlaceModeEnabled)


class qMRMLSegmentsTableView(SceneHolder, QTableWidget):
    """The segments of a segmentation: colour and name."""

    CPP_SIGNALS = ("selectionChanged(QItemSelection,QItemSelection)",)
    readOnly = stored(bool, "readOnly", False)
    headerVisible = stored(bool, "headerVisible", True)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setColumnCount(2)
        self.setHorizontalHeaderLabels(["", "Name"])
        self._node = None
        self._tag = 0

    def segmentationNode(self) -> Any:
        return self._node

    def setSegmentationNode(self, node: Any) -> None:
        if self._node is not None:
            self._node.RemoveObserver(self._tag)
        self._node = node
        if node is not None:
            self._tag = node.AddObserver(vtk.vtkCommand.ModifiedEvent, self._fill)
        self._fill()

    def _fill(self, *_: Any) -> None:
        segmentation = self._node.GetSegmentation() if self._node is not None else None
        self.setRowCount(segmentation.GetNumberOfSegments() if segmentation else 0)
        for row in range(self.rowCount):
            segment = segmentation.GetNthSegment(row)
            colour = QTableWidgetItem()
            colour.setBackground(QtGui.QColor.fromRgbF(*segment.GetColor()))
            self.setItem(row, 0, colour)
            self.setItem(row, 1, QTableWidgetItem(segment.GetName()))

    def selectedSegmentIDs(self) -> list[str]:
        rows = sorted({index.row() for index in self.selectedIndexes()})
        return [self._node.GetSegmentation().GetNthSegmentID(row) for row in rows]

    def setSelectedSegmentIDs(self, ids: list[str]) -> None:
        self.clearSelection()
        for row in range(self.rowCount):
            if self._node.GetSegmentation().GetNthSegmentID(row) in ids:
                self.selectRow(row)


class qMRMLSegmentSelectorWidget(SceneHolder, QWidget):
    """Which segmentation, and which segment of it, is the current one."""

    CPP_SIGNALS = ("currentNodeChanged(vtkMRMLNode*)", "currentSegmentChanged(QString)")
    currentNodeChanged = Signal(object)
    currentSegmentChanged = Signal(str)

    def currentNode(self) -> Any:
        return self.__dict__.get("_node")

    def setCurrentNode(self, node: Any) -> None:
        self.__dict__["_node"] = node
        self.currentNodeChanged.emit(node)

    def currentSegmentID(self) -> str:
        return self.__dict__.get("_segment", "")

    def setCurrentSegmentID(self, segment: str) -> None:
        self.__dict__["_segment"] = segment
        self.currentSegmentChanged.emit(segment)


class qMRMLSegmentEditorWidget(qMRMLWidget):
    """Remembers what it is asked to edit."""

    def setMRMLSegmentEditorNode(self, node: Any) -> None:
        self.__dict__["_editor_node"] = node

    def setSegmentationNode(self, node: Any) -> None:
        self.__dict__["_segmentation"] = node

    def segmentationNode(self) -> Any:
        return self.__dict__.get("_segmentation")

    def setSourceVolumeNode(self, node: Any) -> None:
        self.__dict__["_volume"] = node

    def sourceVolumeNode(self) -> Any:
        return self.__dict__.get("_volume")

    def setActiveEffectByName(self, name: str) -> None:
        raise RuntimeError(f"The effect '{name}' needs the desktop's Segment Editor.")
