"""What a cohort is to be: a YAML file -> CohortSpec, checked here once. No torch.

    request: base.json                     # exactly one source: a request to vary,
    dataset: {path: data/mine, split: Tr, structures: all, cases: 20}     # every mask of a data set in nnU-Net layout,
    dataset: {labels: mask.nii.gz, structures: [mandible]}                # or of one label map with its labels.json,
    structures: [mandible, brainstem]      # or words alone, whose facts are drawn from the bundle's training ranges
    count: 50                              # cases in all; or per_source: so many of each base
    vary:
      volume: [0.8, 1.25]                  # factor
      elongation: [0.9, 1.1]               # factor along the longest axis, at the same volume
      side: 0.5                            # chance of being mirrored
      wording: true                        # free wordings instead of the full description
      hand: [0.5, 2]                       # how much the sketches waver: 0 exact, 1 careful, 3 hasty
      shift_mm: 3                          # at most, along each body axis
      rotate_deg: 5                        # at most, in the plane of the first sketch
    bundle: headneck                       # and mask_only, steps, guidance, device, seed
    gates: {sketch_dice: {reject: 0.7}}    # see `gates`
    stop: {cases: 40, minutes: 90, gigabytes: 5}

Relative paths are meant from the spec's own folder. Unknown keys are refused.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..anatomy import resolve
from ..errors import BadRequest
from . import gates

Span = tuple[float, float]
MAX_CASES = 99_999  # five digits in a case's name
_SOURCES = ("request", "dataset", "structures")
_KNOWN = (
    *(*_SOURCES, "version", "count", "per_source", "vary", "bundle", "mask_only"),
    *("steps", "guidance", "device", "seed", "gates", "stop"),
)


@dataclass(frozen=True)
class Source:
    """What the cases are made from. `structures` None means all that the bundle makes; `cases` the first so many of a data set."""

    kind: str  # request, dataset, labels or structures
    path: str = ""
    split: str = "Tr"
    structures: tuple[str, ...] | None = None
    cases: int | None = None


@dataclass(frozen=True)
class Vary:
    """Ranges to draw from, each case for itself; None, 0 and False leave a thing as it is."""

    volume: Span | None = None
    elongation: Span | None = None
    side: float = 0.0
    wording: bool = False
    hand: Span | None = None
    shift_mm: float = 0.0
    rotate_deg: float = 0.0


@dataclass(frozen=True)
class Stop:
    """When a run ends although cases are left: complete `cases` in the folder, `minutes` of this run, `gigabytes` of all cases."""

    cases: int | None = None
    minutes: float | None = None
    gigabytes: float | None = None


@dataclass(frozen=True)
class CohortSpec:
    """A whole spec; None takes the base request's or the bundle's own value."""

    source: Source
    count: int | None = None
    per_source: int | None = None
    vary: Vary = field(default_factory=Vary)
    bundle: str | None = None
    mask_only: bool = False
    steps: int | None = None
    guidance: float | None = None
    device: str | None = None
    seed: int = 0
    gates: dict[str, Any] = field(default_factory=gates.settings)
    stop: Stop = field(default_factory=Stop)

    def to_dict(self) -> dict[str, Any]:
        """As a YAML or JSON object that `parse` reads back, every default filled in, paths absolute."""
        data: dict[str, Any] = asdict(self)
        source = data.pop("source")
        if self.source.kind == "request":
            data["request"] = self.source.path
        elif self.source.kind == "structures":
            data["structures"] = list(self.source.structures or ())
        else:
            named = "all" if self.source.structures is None else list(self.source.structures)
            place = {"path": source["path"], "split": source["split"], "cases": source["cases"]}
            data["dataset"] = {"structures": named, **(place if self.source.kind == "dataset" else {"labels": source["path"]})}
        data["vary"] = {key: list(value) if isinstance(value, tuple) else value for key, value in data["vary"].items()}
        return data


def read(path: str | Path) -> CohortSpec:
    """A spec from a YAML file. Raises BadRequest."""
    import yaml

    path = Path(path)
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadRequest(f"Cannot read the spec {path}: {error}.") from error
    except yaml.YAMLError as error:
        raise BadRequest(f"{path} is not valid YAML: {error}.") from error
    return parse(data, path.absolute().parent)


def parse(data: Any, folder: Path) -> CohortSpec:
    """A spec from its parsed YAML; relative paths are meant from `folder`. Raises BadRequest."""
    _object(data, "The spec", _KNOWN)
    if data.get("version", 1) != 1:
        raise BadRequest(f"The spec has version {data['version']!r}; this program reads version 1.")
    if data.get("count") is not None and data.get("per_source") is not None:
        raise BadRequest("The spec has both 'count' and 'per_source'.", "Keep one of them.")
    bundle, device = data.get("bundle"), data.get("device")
    if bundle is not None and (not isinstance(bundle, str) or not bundle.replace("-", "").replace("_", "").isalnum()):
        raise BadRequest(f"'bundle' must be a plain name, not {bundle!r}.")
    if device is not None and not (isinstance(device, str) and (device in ("auto", "cpu", "cuda") or device.startswith("cuda:"))):
        raise BadRequest(f"Unknown device {device!r}.", "Use auto, cpu, cuda, or cuda:N.")
    return CohortSpec(
        source=_source(data, folder),
        count=_whole(data, "count", 1, MAX_CASES),
        per_source=_whole(data, "per_source", 1, MAX_CASES),
        vary=_vary(data.get("vary")),
        bundle=bundle,
        mask_only=_flag(data, "mask_only"),
        steps=_whole(data, "steps", 1, 1000),
        guidance=_number(data.get("guidance"), "guidance", 0, 20),
        device=device,
        seed=_whole(data, "seed", 0, 2**63 - 1) or 0,
        gates=gates.settings(data.get("gates")),
        stop=_stop(data.get("stop")),
    )


def _source(data: dict[str, Any], folder: Path) -> Source:
    given = [key for key in _SOURCES if data.get(key) is not None]
    if len(given) != 1:
        said = f"The spec names {' and '.join(given)}" if given else "The spec names no source"
        raise BadRequest(f"{said}; exactly one is needed.", f"Use one of: {', '.join(_SOURCES)}.")
    if given[0] == "request":
        return Source("request", _path(data["request"], "request", folder))
    if given[0] == "structures":
        names = _names(data["structures"], "structures")
        if names is None:
            raise BadRequest("'structures' must list names.", "Write for example structures: [mandible].")
        return Source("structures", structures=names)
    item = data["dataset"]
    _object(item, "'dataset'", ("path", "labels", "split", "structures", "cases"))
    names = _names(item.get("structures", "all"), "dataset: structures")
    if (item.get("path") is None) == (item.get("labels") is None):
        raise BadRequest("'dataset' needs either a 'path' or 'labels'.", "Name a folder in nnU-Net layout, or one label map.")
    if item.get("labels") is not None:
        if item.get("cases") is not None or item.get("split") is not None:
            raise BadRequest("'dataset' with 'labels' is one case.", "Leave 'split' and 'cases' out.")
        return Source("labels", _path(item["labels"], "dataset: labels", folder), "", names)
    split = item.get("split") or "Tr"
    if not isinstance(split, str):
        raise BadRequest(f"'dataset: split' must be a name such as Tr, not {split!r}.")
    place = _path(item["path"], "dataset: path", folder)
    return Source("dataset", place, split.removeprefix("labels"), names, _whole(item, "cases", 1, MAX_CASES, "dataset: "))


def _vary(item: Any) -> Vary:
    if item is None:
        return Vary()
    _object(item, "'vary'", tuple(Vary.__dataclass_fields__))
    return Vary(
        volume=_span(item.get("volume"), "volume", 0.1, 10),
        elongation=_span(item.get("elongation"), "elongation", 0.2, 5),
        side=_number(item.get("side"), "vary: side", 0, 1) or 0.0,
        wording=_flag(item, "wording", "vary: "),
        hand=_span(item.get("hand"), "hand", 0, 5),
        shift_mm=_number(item.get("shift_mm"), "vary: shift_mm", 0, 50) or 0.0,
        rotate_deg=_number(item.get("rotate_deg"), "vary: rotate_deg", 0, 45) or 0.0,
    )


def _stop(item: Any) -> Stop:
    if item is None:
        return Stop()
    _object(item, "'stop'", tuple(Stop.__dataclass_fields__))
    minutes, size = (_number(item.get(key), f"stop: {key}", 0, 1e9) for key in ("minutes", "gigabytes"))
    return Stop(_whole(item, "cases", 1, MAX_CASES, "stop: "), minutes, size)


def _object(data: Any, where: str, known: tuple[str, ...]) -> None:
    if not isinstance(data, dict):
        raise BadRequest(f"{where} must hold keys and values, not {data!r}.", f"Known: {', '.join(sorted(known))}.")
    unknown = sorted(str(key) for key in data if key not in known)
    if unknown:
        raise BadRequest(f"{where} has unknown keys: {', '.join(unknown)}.", f"Known: {', '.join(sorted(known))}.")


def _path(given: Any, where: str, folder: Path) -> str:
    if not isinstance(given, str) or not given.strip():
        raise BadRequest(f"'{where}' must be a path, not {given!r}.")
    path = folder / Path(given).expanduser()
    if not path.exists():
        raise BadRequest(f"'{where}': there is no {path}.", "Relative paths are meant from the folder of the spec.")
    return str(path)


def _names(given: Any, where: str) -> tuple[str, ...] | None:
    if given == "all":
        return None
    if not isinstance(given, list) or not given or not all(isinstance(name, str) for name in given):
        raise BadRequest(f"'{where}' must be a list of names{' or all' if ':' in where else ''}, not {given!r}.")
    return tuple(dict.fromkeys(resolve(name) for name in given))


def _flag(data: dict[str, Any], key: str, where: str = "") -> bool:
    value = data.get(key)
    if value is not None and not isinstance(value, bool):
        raise BadRequest(f"'{where}{key}' must be true or false, not {value!r}.")
    return bool(value)


def _whole(data: dict[str, Any], key: str, low: int, high: int, where: str = "") -> int | None:
    value = data.get(key)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high):
        raise BadRequest(f"'{where}{key}' cannot be {value!r}.", f"Give a whole number from {low} to {high}.")
    return value


def _number(value: Any, name: str, low: float, high: float) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or not low <= value <= high:
        raise BadRequest(f"'{name}' cannot be {value!r}.", f"Give a number from {low:g} to {high:g}.")
    return float(value)


def _span(value: Any, name: str, low: float, high: float) -> Span | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 2:
        raise BadRequest(
            f"'vary: {name}' cannot be {value!r}.", f"Give two numbers, for example {name}: [{max(low, 0.8):g}, {min(high, 1.25):g}]."
        )
    first, last = (_number(end, f"vary: {name}", low, high) for end in value)
    if first is None or last is None or first > last:
        raise BadRequest(f"'vary: {name}' cannot be {value!r}.", "The first number must not be larger than the second.")
    return first, last
