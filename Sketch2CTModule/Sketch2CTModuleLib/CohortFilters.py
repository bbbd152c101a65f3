"""Which cases the table of a cohort lists: the choices of the selector."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

from .ReviewSession import BLIND_FILTERS, FILTERS


def offerFilters(selector: Any, blind: bool) -> None:
    """Fill the selector; of a blind reading only with what tells nothing of a case."""
    titles = (_("all"), _("to do"), _("flagged"), _("accepted"), _("rejected"), _("needs edit"), _("disputed"))
    blocked = selector.blockSignals(True)
    selector.clear()
    for name, title in zip(FILTERS, titles, strict=True):
        if not blind or name in BLIND_FILTERS:
            selector.addItem(title, name)
    selector.blockSignals(blocked)
