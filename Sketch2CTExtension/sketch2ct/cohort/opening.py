"""A cohort folder made, or taken up again: refused when it holds anything but what the spec makes. No torch."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import __version__
from ..bundle import Bundle
from ..disk import created, writing
from ..errors import BadRequest
from .case import CASES, COHORT, COHORT_VERSION, FAILED, WORK
from .edits import write_json
from .folder import Cohort
from .lock import locked
from .plan import Planner

_FREE = ("stop", "device", "request")  # may differ when a run goes on; what a base request says is compared by its hash, in `sources`


@dataclass(frozen=True)
class Asked:
    """What a run is to do with a cohort."""

    planner: Planner
    bundle: Bundle
    out: Path
    retry_failed: bool = False


@contextmanager
def ready(asked: Asked) -> Iterator[None]:
    """The cohort folder, made or taken up again, under its lock.

    Raises BadRequest when another run holds it, when it was made from another spec or bundle, or holds other things; WriteFailed.
    """
    root = asked.out
    _check_free(root)
    with writing(root):
        root.mkdir(parents=True, exist_ok=True)
    with locked(root):
        if (root / COHORT).is_file():
            _check_same(Cohort.open(root), asked)
        with writing(root):
            shutil.rmtree(root / WORK, ignore_errors=True)
            for name in (WORK, CASES, FAILED):
                (root / name).mkdir(exist_ok=True)
            if not (root / COHORT).is_file():
                write_json(root / WORK / COHORT, _record(asked))
                os.replace(root / WORK / COHORT, root / COHORT)
                sync(root)
        try:
            yield
        finally:
            shutil.rmtree(root / WORK, ignore_errors=True)


def _check_free(root: Path) -> None:
    if root.exists() and not root.is_dir():
        raise BadRequest(f"{root} is a file, not a folder.", "Choose another name for the cohort.")
    if root.is_dir() and not (root / COHORT).is_file():
        others = sorted(item.name for item in root.iterdir() if not item.name.startswith(".") and item.name not in (CASES, FAILED))
        if others or ((root / CASES).is_dir() and any((root / CASES).iterdir())):
            raise BadRequest(f"The folder {root} holds other things than a cohort ({(others or [CASES])[0]}).", "Choose another.")


def _record(asked: Asked) -> dict[str, Any]:
    """cohort.json."""
    spec, planner = asked.planner.spec.to_dict(), asked.planner
    bundle = {"bundle": asked.bundle.name, "bundle_hash": asked.bundle.digest}
    facts = {"version": COHORT_VERSION, "synthetic": True, "not_for_clinical_use": True, "spec": spec, "total": planner.total}
    return {**facts, **bundle, "sources": planner.sources, "versions": {"sketch2ct": __version__}, "created": created()}


def _check_same(cohort: Cohort, asked: Asked) -> None:
    """Raises BadRequest when the folder was made from something else, saying what differs."""
    now = json.loads(json.dumps(_record(asked)))
    new_folder = "Use the spec it was made from, or choose another folder."
    for key in sorted(set(now["spec"]) | set(cohort.spec)):
        was, wants = _placeless(cohort.spec.get(key)), _placeless(now["spec"].get(key))
        if was != wants and key not in _FREE:
            raise BadRequest(f"{cohort.root} was made from another spec: '{key}' was {_short(was)} and is {_short(wants)} now.", new_folder)
    if cohort.facts.get("sources") != now["sources"]:
        raise BadRequest(f"{cohort.root} was made from other sources: what the spec names has changed since.", new_folder)
    if cohort.bundle != asked.bundle.name or cohort.bundle_hash != asked.bundle.digest:
        said = f"{cohort.root} was made with the bundle '{cohort.bundle}' {cohort.bundle_hash[:12]}, and this is '{asked.bundle.name}'"
        raise BadRequest(f"{said} {asked.bundle.digest[:12]}.", "Install that bundle again, or choose another folder.")


def _placeless(value: Any) -> Any:
    """A setting without the place of a data set, which may have moved."""
    return {key: part for key, part in value.items() if key not in ("path", "labels")} if isinstance(value, dict) else value


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


def sync(folder: Path) -> None:
    """Wait until a rename in the folder is on the disk, where the system can tell."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
