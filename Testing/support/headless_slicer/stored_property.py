"""A Qt property that only keeps what it is given: for the stand-ins' settings that change nothing but looks."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Property


def stored(kind: Any, name: str, default: Any, changed: str = "") -> Property:
    """A property of a widget class; `changed` names a method to call, without arguments, after each change."""
    key = f"_stored_{name}"

    def get(self: Any) -> Any:
        return self.__dict__.get(key, default)

    def put(self: Any, value: Any) -> None:
        self.__dict__[key] = value
        if changed:
            getattr(self, changed)()

    return Property(kind, get, put)
