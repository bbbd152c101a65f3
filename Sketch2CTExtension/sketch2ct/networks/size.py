"""Architecture sizes: frozen dataclasses without defaults, as a bundle's metadata holds them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, TypeVar

Self = TypeVar("Self", bound="Size")


class Size:
    """Base of the sizes: to JSON and back."""

    @classmethod
    def from_dict(cls: type[Self], data: dict[str, Any]) -> Self:
        """From JSON; lists become tuples. Raises TypeError for a missing or unknown entry."""
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in data.items()})

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)  # type: ignore[call-overload]
