"""Undo and redo."""

from __future__ import annotations

from typing import Generic, TypeVar

State = TypeVar("State")
LIMIT = 200


class StrokeHistory(Generic[State]):
    """The states that a user went through. States are kept as they are: pass values that nobody changes."""

    def __init__(self, state: State, limit: int = LIMIT) -> None:
        self._past: list[State] = []
        self._future: list[State] = []
        self._state = state
        self._limit = limit

    @property
    def state(self) -> State:
        """The state at present."""
        return self._state

    @property
    def canUndo(self) -> bool:
        """Whether there is an earlier state."""
        return bool(self._past)

    @property
    def canRedo(self) -> bool:
        """Whether an undone state can come back."""
        return bool(self._future)

    def push(self, state: State) -> None:
        """Go on to a new state: what was undone is gone, and so is the oldest state beyond the limit."""
        self._past = [*self._past, self._state][-self._limit :]
        self._future = []
        self._state = state

    def undo(self) -> State:
        """Go back one step, if there is one; returns the state at present."""
        if self._past:
            self._future.append(self._state)
            self._state = self._past.pop()
        return self._state

    def redo(self) -> State:
        """Take back the last undo, if there is one; returns the state at present."""
        if self._future:
            self._past.append(self._state)
            self._state = self._future.pop()
        return self._state

    def restart(self, state: State) -> None:
        """Begin anew at `state`, with nothing to undo."""
        self._past, self._future, self._state = [], [], state
