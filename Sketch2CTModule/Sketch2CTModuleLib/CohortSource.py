"""What a cohort is made from, and its spec: files in a hidden folder of the cohort, so that it can be gone on with wherever it is moved."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from sketch2ct.anatomy import find, vocabulary
from sketch2ct.cohort.case import COHORT
from sketch2ct.describe import read
from sketch2ct.disk import writing
from sketch2ct.errors import BadRequest
from sketch2ct.request import GenerationRequest

from .BundleList import bundleMetadata
from .CohortVariety import Variety
from .LabelExport import LabelExport
from .Parameters import QUALITY_STEPS
from .RequestBuilder import buildRequest

SCENE, SEGMENTATION, DATASET = "scene", "segmentation", "dataset"
FOLDER, SPEC, REQUEST = ".source", "spec.json", "request.json"  # a cohort run leaves names with a dot alone


@dataclass(frozen=True)
class Wanted:
    """What the user asked for. `segmentation` is a node or None, `dataset` a folder in nnU-Net layout."""

    kind: str
    folder: Path
    count: int
    variety: Variety
    withCt: bool = True
    seed: int = 0
    segmentation: Any = None
    dataset: str = ""


class CohortSource:
    """Looks at sources and writes them. `book` holds the sketches of the scene."""

    def __init__(self, book: Any, export: Any = None) -> None:
        self._book, self._export = book, export or LabelExport()

    def summary(self, wanted: Wanted, parameters: Any) -> str:
        """What the cases will be made from, in words. Raises BadRequest when it is nothing, and says what is missing."""
        if wanted.kind == SCENE:
            request = self._request(parameters)
            drawn = [_spoken(name) for name in request.structures()] or [_spoken(name) for name in _named(request.description)]
            said = _(', "{text}"').format(text=_short(request.description)) if request.description else ""
            return _("{structures}{said}").format(structures=", ".join(drawn), said=said)
        if wanted.kind == DATASET:
            return self._datasetSummary(wanted.dataset)
        known, left = self._segments(wanted.segmentation, parameters)
        text = ", ".join(_spoken(name) for name in dict.fromkeys(known.values()))
        return text + (". " + _("Left out, as the model does not make them: {names}.").format(names=", ".join(left)) if left else "")

    def write(self, wanted: Wanted, parameters: Any) -> Path:
        """Write the source and the spec; the spec's path. The cohort's folder is made. Raises BadRequest or WriteFailed."""
        checkFree(wanted.folder)
        request = self._request(parameters) if wanted.kind == SCENE else None
        known = self._segments(wanted.segmentation, parameters)[0] if wanted.kind == SEGMENTATION else {}
        place = wanted.folder / FOLDER
        existed = wanted.folder.exists()
        try:
            with writing(wanted.folder):
                shutil.rmtree(place, ignore_errors=True)  # of an attempt that was refused
                place.mkdir(parents=True)
                spec = {"version": 1, **_settings(wanted, parameters, request)}
                if request is not None:
                    request.write(place / REQUEST)
                    spec["request"] = REQUEST
                elif wanted.kind == DATASET:
                    spec["dataset"] = {"path": str(Path(wanted.dataset).expanduser().absolute())}
                else:
                    labels = self._export.write(wanted.segmentation, place, segments=list(known))
                    spec["dataset"] = {"labels": labels.name, "structures": list(dict.fromkeys(known.values()))}
                (place / SPEC).write_text(json.dumps(spec, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        except Exception:
            shutil.rmtree(place if existed else wanted.folder, ignore_errors=True)
            raise
        return place / SPEC

    def _request(self, parameters: Any) -> GenerationRequest:
        """The scene's sketches and words, with a CT. Raises BadRequest."""
        sketches = self._book.requestSketches() if self._book.strokes() else []
        if not sketches and not _named(parameters.description):
            raise BadRequest(_("There is no sketch, and the description names no structure."), _("Draw a sketch, or describe a structure."))
        return buildRequest(parameters, sketches).with_changes(volume_generator=parameters.volumeGenerator, samples=1)

    def _segments(self, segmentation: Any, parameters: Any) -> tuple[dict[str, str], list[str]]:
        """Segment ID -> structure of those that the bundle makes, and the names of the others. Raises BadRequest when it makes none."""
        if segmentation is None:
            raise BadRequest(_("Choose a segmentation."))
        made = bundleMetadata(parameters.bundle).get("structures", [])
        found = self._export.recognised(segmentation)
        known = {name: structure for name, structure in found.items() if structure is not None and structure in made}
        left = [segmentation.GetSegmentation().GetSegment(name).GetName() for name in found if name not in known]
        if not known:
            names = ", ".join(left) or _("none")
            raise BadRequest(_("The model makes none of its segments ({names}).").format(names=names), _("Name them as the model does."))
        return known, left

    def _datasetSummary(self, folder: str) -> str:
        if not folder.strip():
            raise BadRequest(_("Choose the folder of a data set."))
        path = Path(folder.strip()).expanduser()
        if not (path / "dataset.json").is_file() or not (path / "labelsTr").is_dir():
            raise BadRequest(_("{path} has no dataset.json, or no labelsTr.").format(path=path), _("Choose a folder in nnU-Net layout."))
        masks = sum(1 for _item in (path / "labelsTr").glob("*.nii.gz"))
        return _("Cases in it: {n}. Each structure of each becomes a case in turn.").format(n=masks)


def checkFree(folder: Path) -> None:
    """Raises BadRequest when a new cohort cannot be made in a folder."""
    if folder.exists() and not folder.is_dir():
        raise BadRequest(_("{folder} is a file.").format(folder=folder), _("Choose another folder."))
    if (folder / COHORT).exists():
        raise BadRequest(
            _("{folder} holds a cohort already.").format(folder=folder), _("Open it to make its missing cases, or choose another folder.")
        )
    if folder.is_dir() and any(not item.name.startswith(".") for item in folder.iterdir()):
        raise BadRequest(_("{folder} is not empty.").format(folder=folder), _("Choose another folder."))


def specOf(root: Path, spec: dict[str, Any], scratch: Path) -> Path:
    """The spec to go on with a cohort: the file in it, else its recorded one, written to `scratch`. Raises WriteFailed."""
    if (root / FOLDER / SPEC).is_file():
        return root / FOLDER / SPEC
    with writing(scratch):
        scratch.mkdir(parents=True, exist_ok=True)
        (scratch / SPEC).write_text(json.dumps(spec, ensure_ascii=False), encoding="utf-8")
    return scratch / SPEC


def _settings(wanted: Wanted, parameters: Any, request: GenerationRequest | None) -> dict[str, Any]:
    """The part of the spec that is no source. What the base request says of model and quality stays there."""
    drawn = request is None or bool(request.sketches)
    sized = request is None or "volume_ml" in read(request.description).values
    own = {"bundle": parameters.bundle, "steps": QUALITY_STEPS[parameters.quality]} if request is None else {}
    return {
        "count": wanted.count,
        "vary": wanted.variety.toSpec(drawn=drawn, sized=sized),
        "mask_only": not wanted.withCt,
        "seed": wanted.seed,
        "device": parameters.device,
        **{key: value for key, value in own.items() if value is not None},
    }


def _named(text: str) -> list[str]:
    return [name for name in find(text) if not vocabulary()[name].derived]


def _spoken(name: str) -> str:
    known = vocabulary().get(name)
    return known.display if known is not None else name


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 70 else line[:67] + "..."
