"""Reads what will be wanted next, while the present case is looked at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Generic, TypeVar

T = TypeVar("T")


class ReviewAhead(Generic[T]):
    """Calls `read(name)` for the names wanted, in a thread of its own, and keeps what it gave for those alone."""

    def __init__(self, read: Callable[[str], T]) -> None:
        self._read = read
        self._pool = ThreadPoolExecutor(1, "Sketch2CT-review")
        self._futures: dict[str, Future[T]] = {}

    def want(self, names: Sequence[str]) -> None:
        """Read these, the first one first; forget all others."""
        for name in self._futures.keys() - set(names):
            self._futures.pop(name).cancel()
        for name in names:
            if name not in self._futures:
                self._futures[name] = self._pool.submit(self._read, name)

    def take(self, name: str) -> T:
        """What `read(name)` gives: at once if it is there, else when it is read. Raises what it raised."""
        future = self._futures.get(name)
        if future is None or future.cancel():  # not begun yet: quicker here than behind the others
            self._futures.pop(name, None)
            made: Future[T] = Future()
            made.set_result(self._read(name))
            self._futures[name] = future = made
        try:
            return future.result()
        except BaseException:
            self.forget(name)  # the file may be mended when it is asked for again
            raise

    def forget(self, name: str) -> None:
        """Read a name again the next time."""
        future = self._futures.pop(name, None)
        if future is not None:
            future.cancel()

    def tend(self, seconds: float) -> bool:
        """Wait so long for the thread; whether work is left.

        Slicer's event loop keeps the interpreter's lock between Python calls, so that the thread would stand still without this.
        """
        left = [future for future in self._futures.values() if not future.done()]
        return bool(left) and bool(wait(left, timeout=seconds).not_done)

    def close(self) -> None:
        """Forget everything and let the thread end."""
        self.want([])
        self._pool.shutdown(wait=False, cancel_futures=True)
