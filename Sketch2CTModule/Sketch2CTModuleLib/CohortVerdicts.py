"""What the reviewer says of the case that is shown: buttons, scores, note, and the keys for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from slicer.i18n import tr as _

from sketch2ct.review.verdict import ACCEPTED, BEST_SCORE, NEEDS_EDIT, REAL, REJECTED, SCORES, SYNTHETIC, Verdict

Say = Callable[..., bool]  # say(status=..., ...): whether it was kept


class CohortVerdicts:
    """Calls `say(**changes)` with what is other now, and `decide(**changes)` with a status or a guess, after which comes the next case."""

    def __init__(self, ui: Any, say: Say, decide: Say) -> None:
        self._ui, self._say, self._decide = ui, say, decide
        self._spins = [ui.realismSpin, ui.anatomySpin, ui.agreementSpin]
        self._labels = [ui.realismLabel, ui.anatomyLabel, ui.agreementLabel]
        self._names = [label.text for label in self._labels]
        self._active, self._isOffered, self._isBlind = 0, False, False
        self._kept: Verdict | None = None
        for button, changes in (
            (ui.acceptButton, {"status": ACCEPTED}),
            (ui.rejectButton, {"status": REJECTED}),
            (ui.needsEditButton, {"status": NEEDS_EDIT}),
            (ui.realButton, {"guess": REAL}),
            (ui.syntheticButton, {"guess": SYNTHETIC}),
        ):
            button.connect("clicked()", lambda changes=changes: self._decideIf(**changes))
        for score, spin in zip(SCORES, self._spins, strict=True):
            spin.connect("valueChanged(int)", lambda value, score=score: self._onScore(score, value))
        ui.noteEdit.connect("editingFinished()", self.keepNote)
        ui.noteEdit.connect("returnPressed()", self._onReturn)
        self._mark()

    def actions(self) -> dict[str, Callable[[], None]]:
        """Key -> what it does."""
        keys: dict[str, Callable[[], None]] = {
            "A": lambda: self._decideIf(status=ACCEPTED),
            "X": lambda: self._decideIf(status=REJECTED),
            "E": lambda: self._decideIf(status=NEEDS_EDIT),
            "L": lambda: self._decideIf(guess=REAL),
            "S": lambda: self._decideIf(guess=SYNTHETIC),
            "Q": lambda: self._goTo(self._active + 1),
        }
        return keys | {str(score): lambda score=score: self._onDigit(score) for score in range(1, BEST_SCORE + 1)}  # type: ignore[misc]

    def setBlind(self, blind: bool) -> None:
        """Ask for real or synthetic instead of a verdict."""
        self._isBlind = blind
        for widget in (self._ui.acceptButton, self._ui.rejectButton, self._ui.needsEditButton, self._ui.scoreRow):
            widget.visible = not blind
        for widget in (self._ui.realButton, self._ui.syntheticButton):
            widget.visible = blind

    def show(self, verdict: Verdict | None, *, offered: bool, newCase: bool = True) -> None:
        """Show the reviewer's verdict on the case; `offered` is whether another can be given."""
        self._kept, self._isOffered = verdict, offered
        ui = self._ui
        buttons = (ui.acceptButton, ui.rejectButton, ui.needsEditButton, ui.realButton, ui.syntheticButton)
        for widget in (*buttons, *self._spins, ui.noteEdit):
            widget.enabled = offered
        for score, spin in zip(SCORES, self._spins, strict=True):
            blocked = spin.blockSignals(True)
            spin.value = (getattr(verdict, score) if verdict else None) or 0
            spin.blockSignals(blocked)
        ui.noteEdit.setText(verdict.note if verdict else "")
        if newCase:
            self._goTo(0)

    def keepNote(self) -> None:
        """Keep what stands in the note, if it is other than what is kept."""
        text = self._ui.noteEdit.text.strip()
        if self._isOffered and text != (self._kept.note if self._kept else ""):
            self._say(note=text)

    def focusNote(self) -> None:
        """Let the reviewer type a note."""
        if self._isOffered:
            self._ui.noteEdit.setFocus()
            self._ui.noteEdit.selectAll()

    def keysText(self) -> str:
        """What the keys do, for the panel."""
        go = (_("<b>N</b> next"), _("<b>P</b> previous"), _("<b>\u2193\u2191</b> in the table"))
        blind = (_("<b>L</b> real"), _("<b>S</b> synthetic"))
        verdicts = (_("<b>A</b> accept"), _("<b>X</b> reject"), _("<b>E</b> needs edit"))
        scores = (_("<b>1</b>\u2013<b>5</b> score"), _("<b>Q</b> skip a score"), _("<b>K</b> sketch plane"))
        rest = (_("<b>U</b> undo"), _("<b>Enter</b> note"))
        keys = (*go, *blind, *rest) if self._isBlind else (*go, *verdicts, *scores, *rest)
        return " &nbsp; ".join(key.replace(" ", "&nbsp;") for key in keys)

    def _decideIf(self, **changes: Any) -> None:
        if self._isOffered and self._isBlind == ("guess" in changes):
            self.keepNote()
            self._decide(**changes)

    def _onDigit(self, score: int) -> None:
        if self._isOffered and not self._isBlind and self._say(**{SCORES[self._active]: score}):
            self._goTo(self._active + 1)

    def _onScore(self, score: str, value: int) -> None:
        if self._isOffered:
            self._say(**{score: value or None})

    def _onReturn(self) -> None:
        self.keepNote()
        self._ui.cohortTable.setFocus()

    def _goTo(self, active: int) -> None:
        self._active = active % len(SCORES)
        self._mark()

    def _mark(self) -> None:
        """The score that the next digit gives is in bold."""
        for number, (label, name) in enumerate(zip(self._labels, self._names, strict=True)):
            label.text = f"<b>{name}</b>" if number == self._active else name
