"""The parts of a Markdown table."""

from __future__ import annotations

from typing import Any

from ..anatomy import vocabulary


def cell(figure: dict[str, Any] | None, digits: int = 3) -> str:
    """Mean and interval of a figure, or a dash."""
    if not figure or figure["mean"] is None:
        return "-"
    low, high = figure["ci95"]
    return f"{figure['mean']:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def rows(head: list[str], body: list[list[str]]) -> list[str]:
    """The lines of a table; none without a row."""
    return ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *body)] if body else []


def spoken(name: str) -> str:
    """A structure's name as a sentence has it; of another key the words."""
    return vocabulary()[name].spoken if name in vocabulary() else name.replace("_", " ")
