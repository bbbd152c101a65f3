"""The names of a label map's values, from the JSON file beside it. No torch.

Looked for, in this order: `<file>.json` (with or without the image's suffix), `labels.json` in the same folder, and the
`dataset.json` of an nnU-Net folder, in the same folder or its parent. A table may go from value to name or the other
way round.
"""

from __future__ import annotations

import json
from pathlib import Path

from .anatomy import resolve
from .errors import BadRequest


def names_beside(image: str | Path) -> dict[int, str] | None:
    """Value -> structure for a label map; None when no file names them. Raises BadRequest for an unreadable table.

    Names of the vocabulary are brought to its spelling; others are kept as they are.
    """
    image = Path(image)
    stem = image.name.removesuffix(".gz")
    own = [image.with_name(f"{name}.json") for name in (image.name, stem.rsplit(".", 1)[0])]
    for path in (*own, image.with_name("labels.json")):
        if path.is_file():
            return _table(_read(path), path)
    for path in (image.with_name("dataset.json"), image.parent.parent / "dataset.json"):
        if path.is_file():
            return _table(_read(path).get("labels"), path)
    return None


def _read(path: Path) -> dict:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadRequest(f"Cannot read the label names in {path}: {error}.") from error
    if not isinstance(data, dict):
        raise BadRequest(f"{path} must hold a JSON object, value to name or name to value.")
    return data


def _table(data: object, path: Path) -> dict[int, str]:
    names: dict[int, str] = {}
    for key, value in data.items() if isinstance(data, dict) else ():
        number, name = (key, value) if str(key).isdecimal() else (value, key)
        if not isinstance(name, str) or not str(number).isdecimal():
            raise BadRequest(f"{path}: '{key}' does not pair a whole number with a name.")
        if int(number) > 0:
            names[int(number)] = _spelling(name)
    if not names:
        raise BadRequest(f"{path} names no label.", 'Write for example {"1": "mandible"}.')
    return names


def _spelling(name: str) -> str:
    try:
        return resolve(name)
    except BadRequest:
        return name
