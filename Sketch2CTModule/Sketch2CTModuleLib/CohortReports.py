"""What a review comes to: agreement of the reviewers, verdicts of copies, and the result of a blind reading."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from sketch2ct.errors import Sketch2CTError
from sketch2ct.review.agreement import between_all
from sketch2ct.review.blind_result import results
from sketch2ct.review.verdict import SCORES

from .ReviewSession import ReviewSession


class CohortReports:
    """Dialogs about a session."""

    def agreement(self, session: ReviewSession) -> None:
        """Cohen's kappa of every pair of reviewers."""
        try:
            reports = between_all(session.store)
        except Sketch2CTError as error:
            self._failed(error)
            return
        if not reports:
            self._tell(_("Agreement needs two reviewers. Merge the verdicts of a copy, or let somebody else review this cohort."))
            return
        self._tell("\n\n".join(_agreementText(report) for report in reports))

    def merge(self, session: ReviewSession) -> bool:
        """Ask for a copy's file and add its verdicts; whether there were new ones."""
        path = qt.QFileDialog.getOpenFileName(slicer.util.mainWindow(), _("Reviews of a copy"), "", _("Reviews (*.sqlite)"))
        path = path[0] if isinstance(path, tuple) else path
        if not path:
            return False
        try:
            report = session.merge(Path(path))
        except Sketch2CTError as error:
            self._failed(error)
            return False
        self._tell(_("{new} new verdicts, {known} known already.").format(new=report.new, known=report.known))
        return report.new > 0

    def blindResult(self, session: ReviewSession) -> None:
        """The confusion matrix of every reader; asks first while cases are left, since the key tells."""
        done, total = session.counts()
        question = _("{left} cases are not judged yet. Who has seen the result cannot judge them fairly any more. Show it?")
        if done < total and not slicer.util.confirmYesNoDisplay(question.format(left=total - done), windowTitle=_("Blind reading")):
            return
        try:
            readings = results(session.cohort.root)
        except Sketch2CTError as error:
            self._failed(error)
            return
        text = "\n\n".join("\n".join(reading.lines()) for reading in readings)
        self._tell(f"<pre>{escape(text)}</pre>")  # columns

    def _tell(self, text: str) -> None:
        slicer.util.infoDisplay(text, windowTitle=_("Review"))

    def _failed(self, error: Sketch2CTError) -> None:
        slicer.util.errorDisplay(str(error), windowTitle=_("Review"))


def _agreementText(report: dict[str, Any]) -> str:
    titles = {"status": _("Verdict"), **dict(zip(SCORES, (_("Realism"), _("Anatomy"), _("Sketch")), strict=True))}
    lines = [_("{first} and {second}").format(first=report["first"], second=report["second"])]
    for key, title in titles.items():
        found = report[key]
        if not found["cases"]:
            lines.append(_("{title}: no case that both judged").format(title=title))
            continue
        kappa = _("kappa not defined") if found["kappa"] is None else _("kappa {kappa:.2f}").format(kappa=found["kappa"])
        text = _("{title}: {equal} of {cases} equal ({percent:.0f} %), {kappa}")
        lines.append(text.format(title=title, equal=found["equal"], cases=found["cases"], percent=found["percent"], kappa=kappa))
    return "\n".join(lines)
