"""Makes PySide6's classes behave as PythonQt's do, for code that is written for Slicer's Python.

What differs there, and is imitated here:

- a Qt property is an attribute (`button.text`, `button.text = "x"`), while its setter stays a method (`button.setText`);
- `obj.connect("clicked(bool)", f)`, `obj.connect("clicked()", other, "slot()")`, and `disconnect` alike;
- `obj.name`, `obj.className()`, `obj.delete()`, `dialog.exec_()`;
- enumerators are integers.

Stricter than PythonQt: connecting to a signal that does not exist raises `NoSuchSignal` (PythonQt prints a line), and a
whole number is taken for an enumerator by properties only, not by methods.
"""

from __future__ import annotations

import contextlib
import inspect
import types
from collections.abc import Callable, Iterator
from typing import Any

from PySide6 import QtCore, QtGui, QtNetwork, QtSvg, QtTest, QtUiTools, QtWidgets

MODULES = (QtCore, QtGui, QtWidgets, QtUiTools, QtNetwork, QtSvg, QtTest)
# Virtual getters stay methods: Shiboken looks them up as possible overrides written in Python.
_VIRTUAL = frozenset({"sizeHint", "minimumSizeHint", "duration", "totalDuration"})
_CALLED_ON_CLASS = frozenset({"singleShot"})  # `QTimer.singleShot(0, f)` works in Slicer, which uses it itself

_read = QtCore.QObject.property
_write = QtCore.QObject.setProperty
_patched = False


class NoSuchSignal(ValueError):
    """The object has no signal of that signature."""


def patch() -> None:
    """Patch the classes of PySide6, once a process."""
    global _patched
    if _patched:
        return
    _patched = True
    for cls in _object_classes():
        _patch_properties(cls)
    _patch_object()


def _object_classes() -> Iterator[type]:
    seen = set()
    for module in MODULES:
        for name in dir(module):
            cls = getattr(module, name)
            if not inspect.isclass(cls) or not issubclass(cls, QtCore.QObject) or cls in seen:
                continue
            seen.add(cls)
            if cls.staticMetaObject.className() == cls.__name__:
                yield cls


def _patch_properties(cls: type) -> None:
    meta = cls.staticMetaObject
    for index in range(meta.propertyOffset(), meta.propertyCount()):
        prop = meta.property(index)
        if prop.name() not in _VIRTUAL:
            setattr(cls, prop.name(), QtProperty(cls, prop.name()))


def _patch_object() -> None:
    for cls in _object_classes():
        if "__getattribute__" in vars(cls):  # QObject, and a few that bring a look-up of their own
            _intercept_connect(cls)
    cls = QtCore.QObject
    cls.className = lambda self: self.metaObject().className()
    cls.delete = lambda self: self.deleteLater()
    cls.name = property(lambda self: _read(self, "objectName"), lambda self, value: self.setObjectName(value))


def _intercept_connect(cls: type) -> None:
    """Shiboken finds QObject.connect before any attribute set on the class, so the look-up itself is replaced."""
    native = cls.__getattribute__
    replaced = {"connect": _connect, "disconnect": _disconnect}

    def look_up(self: Any, name: str) -> Any:
        function = replaced.get(name)
        return native(self, name) if function is None else types.MethodType(function, self)

    cls.__getattribute__ = look_up


class QtProperty(property):
    """A Qt property as an attribute. As in PythonQt it hides a static function of that name: `QApplication.cursorFlashTime()`."""

    def __init__(self, cls: type, name: str) -> None:
        upper = name[0].upper() + name[1:]
        getter = _method(cls, "is" + upper) or _method(cls, name)
        setter = "set" + upper

        def get(obj: Any) -> Any:
            return getter(obj) if getter is not None else _read(obj, name)

        def put(obj: Any, value: Any) -> None:
            function = getattr(obj, setter, None)
            if function is None:
                _write(obj, name, value)
                return
            try:
                function(value)
            except TypeError:
                if not isinstance(value, int) or not _write(obj, name, value):
                    raise

        super().__init__(get, put)
        self._name, self._original = name, cls.__dict__.get(name)

    def __get__(self, obj: Any, owner: type | None = None) -> Any:
        if obj is not None:
            return super().__get__(obj, owner)
        return self._original.__get__(None, owner) if self._name in _CALLED_ON_CLASS else self


def _method(cls: type, name: str) -> Callable | None:
    found = cls.__dict__.get(name)
    if found is None or not callable(found) or isinstance(found, staticmethod | QtCore.Signal | QtCore.Property):
        return None
    return found


def has_signal(obj: Any, signature: str) -> bool:
    """Whether it is a signal of the class or, as a stand-in's, named in its `CPP_SIGNALS`."""
    text = _normal(signature)
    return text in _stand_in_signals(obj) or obj.metaObject().indexOfSignal(text) >= 0


def _normal(signature: str) -> str:
    return bytes(QtCore.QMetaObject.normalizedSignature(signature).data()).decode()


def _stand_in_signals(obj: Any) -> set[str]:
    return {signal for cls in type(obj).__mro__ for signal in cls.__dict__.get("CPP_SIGNALS", ())}


def _find_signal(obj: Any, signature: str) -> tuple[Any, int]:
    """The bound signal and how many arguments the signature passes on."""
    if not has_signal(obj, signature):
        raise NoSuchSignal(f"{obj.metaObject().className()} has no signal {signature}")
    text = _normal(signature)
    name, arguments = text.rstrip(")").split("(", 1)
    kinds = arguments.split(",") if arguments else []
    signal = getattr(obj, name)
    if kinds and text not in _stand_in_signals(obj):
        with contextlib.suppress(IndexError, KeyError, TypeError):  # one overload only
            signal = signal[tuple(kinds) if len(kinds) > 1 else kinds[0]]
    return signal, len(kinds)


def _arity(function: Callable) -> int | None:
    """How many positional arguments `function` takes; None: any number."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return None
    if any(p.kind == p.VAR_POSITIONAL for p in parameters):
        return None
    return sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)


def _target(receiver: Any, slot: str | None) -> Callable:
    return receiver if slot is None else getattr(receiver, slot.split("(")[0])


def _connect(self: Any, signal: str, receiver: Any, slot: str | None = None) -> bool:
    target = _target(receiver, slot)
    bound, passed = _find_signal(self, signal)
    arity = _arity(target)
    count = passed if arity is None else min(passed, arity)

    def call(*values: Any) -> None:
        target(*values[:count])

    slots = self.__dict__.setdefault("_pythonqt_slots", {})
    slots.setdefault((_normal(signal), target), []).append((bound, call))
    bound.connect(call)
    return True


def _disconnect(self: Any, signal: str, receiver: Any, slot: str | None = None) -> bool:
    slots = self.__dict__.get("_pythonqt_slots", {})
    found = slots.pop((_normal(signal), _target(receiver, slot)), [])
    for bound, call in found:
        bound.disconnect(call)
    return bool(found)
