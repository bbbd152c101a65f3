"""Stand-in for `slicer.parameterNodeWrapper`: typed attributes over a scripted module node.

Stored as Slicer stores them, so scenes go both ways: str, int, float, bool and paths as text, enumerations by name, nodes
as references. As strict as Slicer: a value of another type is refused, and so is a default that its own validators refuse.
As lazy as Slicer: values are read again when the node says that it was modified, and a reference that a scene's import
resolves later than that is missed. Lists, dictionaries and packs are not supported.
"""

from __future__ import annotations

import enum
import pathlib
import types
import typing
import weakref
from typing import Any

import slicer
import vtk

from .gui_connectors import Connector, connect_widget
from .validators import Default, IsInstance, NotNone, Validator

_ZERO = {str: "", int: 0, float: 0, bool: False}
_PATHS = (pathlib.Path, pathlib.PurePath)


class Parameter:
    """One attribute: how it is checked, written and read."""

    def __init__(self, name: str, hint: Any, default: Any) -> None:
        self.name, self.hint = name, hint
        self.kind, annotations = split_annotations(hint)
        self.nodes = node_classes(self.kind)
        self.validators = self._own_validators() + [a for a in annotations if isinstance(a, Validator)]
        defaults = [a.value for a in annotations if isinstance(a, Default)]
        self.default = default if default is not None else defaults[0] if defaults else self._zero()

    def _own_validators(self) -> list[Validator]:
        if self.nodes:
            return [IsInstance(self.nodes)]
        return [NotNone(), IsInstance((int, float) if self.kind is float else self.kind)]

    def _zero(self) -> Any:
        if self.nodes:
            return None
        if isinstance(self.kind, type) and issubclass(self.kind, enum.Enum):
            return next(iter(self.kind))
        if self.kind in _PATHS:
            return self.kind()
        if self.kind in _ZERO:
            return _ZERO[self.kind]
        raise TypeError(f"The harness has no parameter of type {self.hint} ({self.name})")

    def is_in(self, node: Any) -> bool:
        return node.HasParameter(self.name)

    def write(self, node: Any, value: Any) -> None:
        for validator in self.validators:
            validator.validate(value)
        if self.nodes:
            node.SetParameter(self.name, "")
            node.SetNodeReferenceID(self.name, value.GetID() if value is not None else None)
        else:
            node.SetParameter(self.name, value.name if isinstance(value, enum.Enum) else str(value))

    def read(self, node: Any) -> Any:
        if not self.is_in(node):
            self.write(node, self.default)
        if self.nodes:
            return node.GetNodeReference(self.name)
        text = node.GetParameter(self.name)
        if self.kind is bool:
            return text == "True"
        if isinstance(self.kind, type) and issubclass(self.kind, enum.Enum):
            return self.kind[text]
        return self.kind(text)


def split_annotations(hint: Any) -> tuple[Any, tuple]:
    if typing.get_origin(hint) is typing.Annotated:
        kind, *annotations = typing.get_args(hint)
        return kind, tuple(annotations)
    return hint, ()


def node_classes(kind: Any) -> tuple[type, ...]:
    """The node classes of `vtkMRMLXNode`, or of a union of such (None may be in it); else nothing."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        members = tuple(member for member in typing.get_args(kind) if member is not type(None))
    else:
        members = (kind,)
    return members if all(isinstance(member, type) and issubclass(member, slicer.vtkMRMLNode) for member in members) else ()


class _Wrapper:
    """What the decorator adds to a class."""

    _is_parameter_node_wrapper = True
    allParameters: dict[str, Parameter]

    def __init__(self, parameterNode: Any, prefix: str | None = None) -> None:
        self.parameterNode = parameterNode
        self._connected: dict[int, dict[str, Connector]] = {}
        self._next_tag = 0
        self._showing = False
        for parameter in self.allParameters.values():
            if not parameter.is_in(parameterNode):
                parameter.write(parameterNode, parameter.default)
        self._values: dict[str, Any] = {}
        self._read_all()
        _read_when_modified(self)

    def _read_all(self) -> None:
        self._values = {name: parameter.read(self.parameterNode) for name, parameter in self.allParameters.items()}

    def getValue(self, name: str) -> Any:
        self._parameter(name)
        return self._values[name]

    def setValue(self, name: str, value: Any) -> None:
        with slicer.util.NodeModify(self.parameterNode):
            self._parameter(name).write(self.parameterNode, value)
            self._values[name] = self._parameter(name).read(self.parameterNode)

    def default(self, name: str) -> Default:
        return Default(self._parameter(name).default)

    def dataType(self, name: str) -> Any:
        return self._parameter(name).hint

    def isCached(self, _name: str) -> bool:
        return True

    def _parameter(self, name: str) -> Parameter:
        if name not in self.allParameters:
            raise ValueError(f"There is no parameter {name}; there are: {', '.join(self.allParameters)}")
        return self.allParameters[name]

    def connectGui(self, gui: Any) -> None:
        """Connect every widget that has the property SlicerParameterName. As in Slicer before 5.11, no tag is returned."""
        import qt

        is_widget = hasattr(gui, "isWidgetType")
        widgets = gui.findChildren(qt.QWidget) if is_widget else vars(gui).values()
        named = {widget.property("SlicerParameterName"): widget for widget in widgets}
        self.connectParametersToGui({name: widget for name, widget in named.items() if name})

    def connectParametersToGui(self, mapping: dict[str, Any]) -> int:
        connectors = {name: connect_widget(widget, self._parameter(name)) for name, widget in mapping.items()}
        tag, self._next_tag = self._next_tag, self._next_tag + 1
        self._connected[tag] = connectors
        for name, connector in connectors.items():
            connector.write(self.getValue(name))
            connector.start(self._taker(name, connector))
        # As in Slicer the observer stays when the widgets are disconnected.
        self.AddObserver(vtk.vtkCommand.ModifiedEvent, self._show)
        return tag

    def disconnectGui(self, tag: int) -> None:
        for connector in self._connected.pop(tag, {}).values():
            connector.stop()

    def _taker(self, name: str, connector: Connector) -> Any:
        def take() -> None:
            if not self._showing:
                with slicer.util.NodeModify(self):
                    self.setValue(name, connector.read())

        return take

    def _show(self, *_: Any) -> None:
        """Every change of the node writes every widget, as in Slicer: the cursor of a text field moves while one types."""
        if self._showing:
            return
        self._showing = True
        try:
            for connectors in list(self._connected.values()):
                for name, connector in connectors.items():
                    connector.write(self.getValue(name))
        finally:
            self._showing = False

    def StartModify(self) -> int:
        return self.parameterNode.StartModify()

    def EndModify(self, was_modified: int) -> None:
        self.parameterNode.EndModify(was_modified)

    def AddObserver(self, event: Any, callback: Any, priority: float = 0.0) -> int:
        return self.parameterNode.AddObserver(event, callback, priority)

    def RemoveObserver(self, tag: int) -> None:
        self.parameterNode.RemoveObserver(tag)

    def Modified(self) -> None:
        self.parameterNode.Modified()


def _read_when_modified(wrapper: _Wrapper) -> None:
    reference = weakref.ref(wrapper)

    def on_modified(caller: Any, _event: str) -> None:
        alive = reference()
        if alive is None:
            caller.RemoveObserver(tag)
        else:
            alive._read_all()

    tag = wrapper.parameterNode.AddObserver(vtk.vtkCommand.ModifiedEvent, on_modified)


def parameterNodeWrapper(cls: type | None = None) -> Any:
    """The class decorator."""
    if cls is None:
        return parameterNodeWrapper
    hints = typing.get_type_hints(cls, include_extras=True)
    parameters = {name: Parameter(name, hint, getattr(cls, name, None)) for name, hint in hints.items()}
    own = {name: value for name, value in vars(_Wrapper).items() if name == "__init__" or not name.startswith("__")}
    reserved = [name for name in own if name in parameters or (name != "__init__" and name in vars(cls))]
    if reserved:
        raise ValueError(f"Reserved names of a parameter node wrapper: {', '.join(reserved)}")
    for name, value in own.items():
        setattr(cls, name, value)
    cls.allParameters = parameters
    for name in parameters:
        setattr(cls, name, _attribute(name))
    return cls


def _attribute(name: str) -> property:
    return property(lambda self: self.getValue(name), lambda self, value: self.setValue(name, value))


def isParameterNodeWrapper(candidate: Any) -> bool:
    return getattr(candidate, "_is_parameter_node_wrapper", False)
