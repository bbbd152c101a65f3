"""What takes hours beside an evaluation (usefulness, ablations), put into a report that is there already."""

from __future__ import annotations

import json
from pathlib import Path

from ..errors import BadRequest
from ..results import writing
from .ablation_report import read_ablation
from .report import write_report
from .usefulness import read_usefulness


def quote(folder: Path, usefulness: Path | None = None, ablation: Path | None = None) -> Path:
    """Write the report in `folder` anew with the results of `usefulness` (of the same bundle) and `ablate`; the path of its table.

    Nothing is measured, no other figure changes. Raises BadRequest or WriteFailed.
    """
    path = Path(folder) / "report.json"
    if usefulness is None and ablation is None:
        raise BadRequest("There is nothing to quote.", "Name a folder with --usefulness or --ablation.")
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        digest = str(report["bundle"]["digest"])
    except FileNotFoundError as error:
        raise BadRequest(f"{folder} holds no report (report.json).", "Make it with 'sketch2ct evaluate'.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise BadRequest(f"{path} cannot be read: {error!r}.", "Make it again with 'sketch2ct evaluate'.") from error
    if usefulness is not None:
        report["usefulness"] = read_usefulness(usefulness, digest)
    if ablation is not None:
        report["ablation"] = read_ablation(ablation)
    with writing(Path(folder)):
        write_report(report, Path(folder))
    return path.with_suffix(".md")
