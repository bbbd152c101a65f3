"""Bytes in pieces -> JSON objects, one a line."""

from __future__ import annotations

import json
from typing import Any

MAX_LINE = 16 * 2**20


class JsonLines:
    """Takes bytes as they come, in pieces that end anywhere, and gives the objects of the lines that are complete.

    UTF-8; bytes that are none become replacement characters. A line that is no JSON object, or is longer than
    `maxLine` bytes, is no error: it is kept, shortened, in `garbage` until somebody takes it.
    """

    def __init__(self, maxLine: int = MAX_LINE) -> None:
        self._maxLine = maxLine
        self._open = bytearray()
        self._skipping = False
        self.garbage: list[str] = []

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """The objects whose lines `data` completes."""
        found = []
        *ends, rest = data.split(b"\n")
        for end in ends:
            self._add(end)
            found += self._line()
        self._add(rest)
        return found

    def takeGarbage(self) -> str:
        """What was no message, one a line, and forget it."""
        text = "".join(f"{line}\n" for line in self.garbage)
        self.garbage.clear()
        return text

    def _add(self, piece: bytes) -> None:
        if self._skipping:
            return
        if len(self._open) + len(piece) > self._maxLine:
            self.garbage.append(f"(a line longer than {self._maxLine} bytes) {_shown(bytes(self._open[:200] or piece[:200]))}")
            self._open.clear()
            self._skipping = True
        else:
            self._open += piece

    def _line(self) -> list[dict[str, Any]]:
        line, self._skipping = bytes(self._open).strip(), False
        self._open.clear()
        if not line:
            return []
        try:
            message = json.loads(line.decode("utf-8", errors="replace"))
        except (ValueError, RecursionError):
            message = None
        if isinstance(message, dict):
            return [message]
        self.garbage.append(_shown(line))
        return []


def _shown(line: bytes) -> str:
    text = line[:1000].decode("utf-8", errors="replace")
    return text if len(line) <= 1000 else f"{text} ..."
