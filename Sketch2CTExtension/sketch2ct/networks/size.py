"""Architecture sizes: frozen dataclasses as a bundle's metadata holds them. A default is for what older bundles do not name."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any, TypeVar

Self = TypeVar("Self", bound="Size")


class Size:
    """Base of the sizes: to JSON and back."""

    @classmethod
    def from_dict(cls: type[Self], data: dict[str, Any]) -> Self:
        """From JSON; lists become tuples. Raises TypeError for a missing or unknown entry."""
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in data.items()})

    def to_dict(self) -> dict[str, Any]:
        """As JSON; what is at its default is left out, so that a bundle says it only where it differs."""
        usual = {f.name: f.default for f in fields(self)}  # type: ignore[arg-type]
        return {k: v for k, v in asdict(self).items() if v != usual[k]}  # type: ignore[call-overload]
