"""Keeps the table of a cohort up to date while a run, here or elsewhere, makes its cases."""

from __future__ import annotations

from typing import Any

from .OneShot import OneShot

_EVERY_MS = 2000


class CohortWatch:
    """Looks every two seconds as long as the open cohort lacks cases: one listing of a folder, whatever the number of cases."""

    def __init__(self, cohort: Any, everyMs: int = _EVERY_MS) -> None:
        self._cohort = cohort
        self._timer = OneShot(self._look, everyMs)
        cohort.changed.connect(self._onChanged)

    def close(self) -> None:
        """Stop looking."""
        self._cohort.changed.disconnect(self._onChanged)
        self._timer.stop()

    @property
    def _lacks(self) -> bool:
        session = self._cohort.session
        return session is not None and len(session.names) < session.cohort.total

    def _onChanged(self) -> None:
        if self._lacks:
            self._timer.startUnlessWaiting()

    def _look(self) -> None:
        if self._lacks:
            self._cohort.lookForCases()
            self._onChanged()
