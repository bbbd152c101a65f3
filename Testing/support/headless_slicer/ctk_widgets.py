"""Stand-ins for the widgets of CTK that scripted modules use: what they do, roughly what they look like."""

from __future__ import annotations

from typing import Any

from PySide6 import QtGui
from PySide6.QtCore import Property, Qt, Signal
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QGroupBox,
    QHBoxLayout,
    QLineEdit,
    QMessageBox,
    QPushButton,
    QSlider,
    QToolButton,
    QWidget,
)

from .stored_property import stored

_UNLIMITED = 16777215
_STEPS = 1000


class ctkCollapsibleButton(QWidget):
    """A section with a title bar that hides its content."""

    CPP_SIGNALS = ("contentsCollapsed(bool)", "clicked(bool)", "toggled(bool)")
    contentsCollapsed = Signal(bool)
    clicked = Signal(bool)
    toggled = Signal(bool)
    _BAR = 24

    def __init__(self, text: Any = None, parent: QWidget | None = None) -> None:
        super().__init__(parent if isinstance(text, str) else text)
        self._collapsed = False
        self._bar = QToolButton(self)
        self._bar.setToolButtonStyle(Qt.ToolButtonTextBesideIcon)
        self._bar.setText(text if isinstance(text, str) else "")
        self._bar.setStyleSheet("QToolButton {background: #dcdcdc; border: 1px solid #b4b4b4; padding-left: 6px; text-align: left}")
        self._bar.clicked.connect(self._on_clicked)
        self.setContentsMargins(0, self._BAR, 0, 0)
        self._show_content()

    def _on_clicked(self) -> None:
        self.setCollapsed(not self._collapsed)
        self.clicked.emit(not self._collapsed)

    def resizeEvent(self, event: Any) -> None:
        self._bar.setGeometry(0, 0, self.width, self._BAR)
        super().resizeEvent(event)

    def showEvent(self, event: Any) -> None:  # overriding childEvent instead makes QUiLoader crash
        super().showEvent(event)
        self._show_content()

    def _show_content(self) -> None:
        self._bar.setArrowType(Qt.RightArrow if self._collapsed else Qt.DownArrow)
        for child in self.children():
            if not isinstance(child, QWidget) or child is self._bar:
                continue
            if self._collapsed and not child.isHidden():
                child.setVisible(False)
                child.setProperty("hiddenBySection", True)
            elif not self._collapsed and child.property("hiddenBySection"):
                child.setProperty("hiddenBySection", False)
                child.setVisible(True)
        self.setMinimumHeight(self._BAR)
        self.setMaximumHeight(self._BAR + 2 if self._collapsed else _UNLIMITED)

    def setCollapsed(self, collapsed: bool) -> None:
        if bool(collapsed) == self._collapsed:
            return
        self._collapsed = bool(collapsed)
        self._show_content()
        self.contentsCollapsed.emit(self._collapsed)
        self.toggled.emit(not self._collapsed)

    def setText(self, text: str) -> None:
        self._bar.setText(text)

    def setChecked(self, checked: bool) -> None:
        self.setCollapsed(not checked)

    text = Property(str, lambda self: self._bar.text, setText)
    collapsed = Property(bool, lambda self: self._collapsed, setCollapsed)
    checked = Property(bool, lambda self: not self._collapsed, setChecked)
    contentsFrameShape = stored(int, "contentsFrameShape", 0)
    collapsedHeight = stored(int, "collapsedHeight", 14)


class ctkCollapsibleGroupBox(QGroupBox):
    CPP_SIGNALS = ()

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._collapsed = False

    def setCollapsed(self, collapsed: bool) -> None:
        self._collapsed = bool(collapsed)
        for child in self.children():
            if isinstance(child, QWidget):
                child.setVisible(not self._collapsed)

    collapsed = Property(bool, lambda self: self._collapsed, setCollapsed)


class ctkSliderWidget(QWidget):
    """A slider with a number beside it."""

    CPP_SIGNALS = ("valueChanged(double)", "valueIsChanging(double)")
    valueChanged = Signal(float)
    valueIsChanging = Signal(float)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        self._slider, self._number = QSlider(Qt.Horizontal), QDoubleSpinBox()
        row.addWidget(self._slider, 1)
        row.addWidget(self._number)
        self._slider.setRange(0, _STEPS)
        self._number.setRange(0, 99)
        self._number.valueChanged.connect(self._on_number)
        self._slider.sliderMoved.connect(self._on_slider)

    def _on_number(self, value: float) -> None:
        span = self._number.maximum - self._number.minimum
        self._slider.setValue(round((value - self._number.minimum) / span * _STEPS) if span else 0)
        self.valueChanged.emit(value)

    def _on_slider(self, step: int) -> None:
        span = self._number.maximum - self._number.minimum
        self._number.setValue(self._number.minimum + step / _STEPS * span)

    def slider(self) -> QSlider:
        return self._slider

    def spinBox(self) -> QDoubleSpinBox:
        return self._number

    def setValue(self, value: float) -> None:
        self._number.setValue(value)

    def setMinimum(self, value: float) -> None:
        self._number.setMinimum(value)

    def setMaximum(self, value: float) -> None:
        self._number.setMaximum(value)

    def setRange(self, low: float, high: float) -> None:
        self._number.setRange(low, high)

    def setSingleStep(self, value: float) -> None:
        self._number.setSingleStep(value)

    def setDecimals(self, value: int) -> None:
        self._number.setDecimals(value)

    def setSuffix(self, text: str) -> None:
        self._number.setSuffix(text)

    def setPrefix(self, text: str) -> None:
        self._number.setPrefix(text)

    value = Property(float, lambda self: self._number.value, setValue)
    minimum = Property(float, lambda self: self._number.minimum, setMinimum)
    maximum = Property(float, lambda self: self._number.maximum, setMaximum)
    singleStep = Property(float, lambda self: self._number.singleStep, setSingleStep)
    decimals = Property(int, lambda self: self._number.decimals, setDecimals)
    suffix = Property(str, lambda self: self._number.suffix, setSuffix)
    prefix = Property(str, lambda self: self._number.prefix, setPrefix)
    pageStep = stored(float, "pageStep", 1.0)
    tracking = stored(bool, "tracking", True)
    quantity = stored(str, "quantity", "")
    unitAwareProperties = stored(int, "unitAwareProperties", 0)


class ctkDoubleSlider(ctkSliderWidget):
    pass


class ctkDoubleSpinBox(QDoubleSpinBox):
    pass


class ctkComboBox(QComboBox):
    defaultText = stored(str, "defaultText", "")


class ctkCheckBox(QCheckBox):
    pass


class ctkMenuButton(QPushButton):
    pass


class ctkSearchBox(QLineEdit):
    pass


class ctkCheckablePushButton(QPushButton):
    CPP_SIGNALS = ("checkBoxToggled(bool)",)
    checkBoxToggled = Signal(bool)


class ctkRangeWidget(QWidget):
    """Two numbers, the lower and the upper end of a range."""

    CPP_SIGNALS = ("valuesChanged(double,double)",)
    valuesChanged = Signal(float, float)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        self._low, self._high = QDoubleSpinBox(), QDoubleSpinBox()
        for number in (self._low, self._high):
            number.setRange(0, 99)
            row.addWidget(number)
        self._high.setValue(99)
        for number in (self._low, self._high):
            number.valueChanged.connect(self._on_number)

    def _on_number(self) -> None:
        self.valuesChanged.emit(self._low.value, self._high.value)

    def setRange(self, low: float, high: float) -> None:
        for number in (self._low, self._high):
            number.setRange(low, high)

    def setValues(self, low: float, high: float) -> None:
        self._low.setValue(low)
        self._high.setValue(high)

    minimumValue = Property(float, lambda self: self._low.value, lambda self, value: self._low.setValue(value))
    maximumValue = Property(float, lambda self: self._high.value, lambda self, value: self._high.setValue(value))
    minimum = Property(float, lambda self: self._low.minimum, lambda self, value: self.setRange(value, self._low.maximum))
    maximum = Property(float, lambda self: self._low.maximum, lambda self, value: self.setRange(self._low.minimum, value))


class ctkPathLineEdit(QWidget):
    CPP_SIGNALS = ("currentPathChanged(QString)",)
    currentPathChanged = Signal(str)
    Dirs, Files, Readable, Writable = 1, 2, 16, 32

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        self._line = QLineEdit()
        row.addWidget(self._line, 1)
        row.addWidget(QPushButton("..."))
        self._line.textChanged.connect(self.currentPathChanged.emit)

    def setCurrentPath(self, path: str) -> None:
        self._line.setText(path)

    def addCurrentPathToHistory(self) -> None:
        pass

    currentPath = Property(str, lambda self: self._line.text, setCurrentPath)
    filters = stored(int, "filters", 0)
    nameFilters = stored("QStringList", "nameFilters", [])
    settingKey = stored(str, "settingKey", "")


class ctkDirectoryButton(QPushButton):
    CPP_SIGNALS = ("directoryChanged(QString)", "directorySelected(QString)")
    directoryChanged = Signal(str)
    directorySelected = Signal(str)

    def setDirectory(self, path: str) -> None:
        self.__dict__["_directory"] = path
        self.setText(path)
        self.directoryChanged.emit(path)

    directory = Property(str, lambda self: self.__dict__.get("_directory", ""), setDirectory)


class ctkColorPickerButton(QPushButton):
    CPP_SIGNALS = ("colorChanged(QColor)",)
    colorChanged = Signal(QtGui.QColor)

    def setColor(self, color: QtGui.QColor) -> None:
        self.__dict__["_color"] = color
        self.colorChanged.emit(color)

    color = Property(QtGui.QColor, lambda self: self.__dict__.get("_color", QtGui.QColor()), setColor)
    displayColorName = stored(bool, "displayColorName", True)


class ctkMessageBox(QMessageBox):
    dontShowAgainSettingsKey = stored(str, "dontShowAgainSettingsKey", "")
    dontShowAgainVisible = stored(bool, "dontShowAgainVisible", False)
