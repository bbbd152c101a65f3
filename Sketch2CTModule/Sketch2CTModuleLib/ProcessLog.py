"""What a child process writes for people, in batches, the last of it kept."""

from __future__ import annotations

import codecs
from collections import defaultdict, deque

from .OneShot import OneShot
from .Signal import Signal

KEPT = 2**20  # characters
_BATCH_MS = 200


class ProcessLog:
    """Takes bytes or text; `batch(text)` gives what came within a fifth of a second at once, so that a flood cannot keep the
    event loop busy. `text()` is all of it, at most the last `kept` characters.
    """

    def __init__(self, kept: int = KEPT) -> None:
        self.batch = Signal()
        self._kept = kept
        self._pieces: deque[str] = deque()
        self._size = 0
        self._waiting: list[str] = []
        self._decoders: defaultdict[str, codecs.IncrementalDecoder] = defaultdict(_decoder)
        self._flushSoon = OneShot(self.flush, _BATCH_MS)

    def addBytes(self, data: bytes, stream: str = "") -> None:
        """UTF-8, cut anywhere within its `stream`; bytes that are none become replacement characters."""
        self.add(self._decoders[stream].decode(data))

    def add(self, text: str) -> None:
        """Add text."""
        if not text:
            return
        self._pieces.append(text)
        self._size += len(text)
        while self._size - len(self._pieces[0]) >= self._kept:
            self._size -= len(self._pieces.popleft())
        self._waiting.append(text)
        self._flushSoon.startUnlessWaiting()

    def flush(self) -> None:
        """Emit what waits, now."""
        self._flushSoon.stop()
        text, self._waiting = "".join(self._waiting), []
        if text:
            self.batch.emit(text)

    def text(self) -> str:
        """What was added, at most the last `kept` characters."""
        return "".join(self._pieces)[-self._kept :]


def _decoder() -> codecs.IncrementalDecoder:
    return codecs.getincrementaldecoder("utf-8")(errors="replace")
