"""The annotations of `slicer.parameterNodeWrapper`: what a parameter may hold."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


class Validator(ABC):
    @abstractmethod
    def validate(self, value: Any) -> None:
        """Raises ValueError for a value that is not allowed."""


class NotNone(Validator):
    def validate(self, value: Any) -> None:
        if value is None:
            raise ValueError("None is not allowed")


@dataclass
class IsInstance(Validator):
    kinds: Any

    def validate(self, value: Any) -> None:
        if value is not None and not isinstance(value, self.kinds):
            raise TypeError(f"{value!r} is a {type(value).__name__}; wanted: {self.kinds}")


@dataclass
class Minimum(Validator):
    minimum: float

    def validate(self, value: Any) -> None:
        if value < self.minimum:
            raise ValueError(f"{value} is below {self.minimum}")


@dataclass
class Maximum(Validator):
    maximum: float

    def validate(self, value: Any) -> None:
        if value > self.maximum:
            raise ValueError(f"{value} is above {self.maximum}")


@dataclass
class WithinRange(Validator):
    minimum: float
    maximum: float

    def __post_init__(self) -> None:
        if self.minimum > self.maximum:
            raise ValueError(f"{self.minimum} is above {self.maximum}")

    def validate(self, value: Any) -> None:
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"{value} is not between {self.minimum} and {self.maximum}")


class Choice(Validator):
    def __init__(self, choices: Sequence) -> None:
        self.choices = list(choices)

    def validate(self, value: Any) -> None:
        if value not in self.choices:
            raise ValueError(f"{value!r} is none of {self.choices}")


@dataclass
class Default:
    value: Any


@dataclass
class Decimals:
    value: int


@dataclass
class SingleStep:
    value: float
