"""The export: choose cases, write them in a format, lay a data card beside them. The folder is complete or does not exist. No torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..cohort.folder import Cohort
from ..errors import BadRequest, Cancelled
from ..generation import Progress
from ..results import check_out, staged, writing
from . import card_text, data_card
from .model import model_of
from .options import Options
from .selection import Selection, select
from .writing import Writer

WRITERS = {"nnunet": "nnunet", "monai": "monai_list", "dicom": "dicom", "totalsegmentator": "totalsegmentator"}  # modules of this package
PACKAGES = {"dicom": ("pydicom", "highdicom")}
READING, WRITING = "Reading", "Writing"
MAX_LINES = 20  # of cases that were skipped


@dataclass(frozen=True)
class Report:
    """What came of it: the folder, the number of cases, case -> why it was skipped, standing -> how many were left out, and the card."""

    out: Path
    cases: int
    skipped: dict[str, str]
    left_out: dict[str, int]
    card: dict[str, Any]

    def lines(self) -> list[str]:
        """As text, one fact a line."""
        rows = [f"{card_text.counted(self.cases)} in {self.out}"]
        rows += [
            f"{part['folder']}: {card_text.counted(part['cases'])}, {_spelled(part)}" for part in self.card["parts"] if "structures" in part
        ]
        rows += [f"{count} left out: {standing.replace('_', ' ')}" for standing, count in sorted(self.left_out.items())]
        skipped = sorted(self.skipped.items())
        rows += [f"skipped {name}: {reason}" for name, reason in skipped[:MAX_LINES]]
        rows += [f"skipped {len(skipped) - MAX_LINES} more, see {data_card.CARD}"] if len(skipped) > MAX_LINES else []
        return rows + [f"note: {note}" for note in self.card["notes"]]


def export(source: Path, out: Path, options: Options, progress: Progress | None = None, *, replace: bool = False) -> Report:
    """Write the folder `out`. Raises BadRequest, WriteFailed (disk, permissions) or Cancelled; nothing is left behind then."""
    progress = progress or Progress()
    _check_packages(options.to)
    cohort = Cohort.find(source)
    _check_apart(cohort.root, out)
    check_out(out, replace=replace, marks=data_card.MARKS)
    progress.plan({READING: (0.0, 0.3), WRITING: (0.3, 1.0)})
    try:
        selection = select(cohort, options, _steps(progress, READING, len(cohort.names())))
        card = _write(selection, out, options, progress, replace)
    except Cancelled as error:
        raise Cancelled("The export was cancelled.") from error
    return Report(Path(out), len(selection.cases), selection.skipped, dict(selection.left_out), card)


def _write(selection: Selection, out: Path, options: Options, progress: Progress, replace: bool) -> dict[str, Any]:
    model = model_of(selection.cases)
    writer: Writer = import_module(f".{WRITERS[options.to]}", __package__).write
    voxels = sum(one.voxels for one in selection.cases)
    with staged(out, replace=replace, voxels=voxels, marks=data_card.MARKS) as folder, writing(Path(out)):
        written = writer(folder, selection.cases, options, model, _steps(progress, WRITING, len(selection.cases)))
        card = data_card.card(selection, options, model, written)
        data_card.write(folder, card, card_text.text(card), model)
    return card


def _steps(progress: Progress, stage: str, total: int) -> Callable[[str], None]:
    done = 0

    def step(case: str) -> None:
        nonlocal done
        done += 1
        progress(stage, min(done, total), max(total, 1))

    return step


def _check_packages(to: str) -> None:
    missing = [name for name in PACKAGES.get(to, ()) if find_spec(name) is None]
    if missing:
        hint = f'Install with: pip install {" ".join(missing)}   (or: pip install "sketch2ct[dicom]")'
        raise BadRequest(f"Writing {to.upper()} needs {' and '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} missing.", hint)


def _check_apart(root: Path, out: Path) -> None:
    """An export inside its own cohort would be swept by the next run, and one around it would replace it."""
    inner, outer = Path(out).expanduser().resolve(), root.resolve()
    if inner == outer or outer in inner.parents or inner in outer.parents:
        raise BadRequest(f"{out} and {root} lie in one another.", "Choose a folder beside the cohort.")


def _spelled(part: dict[str, Any]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in part["structures"].items())
