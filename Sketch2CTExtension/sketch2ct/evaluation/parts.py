"""The parts of an evaluation, which can be asked for one by one.

    masks         one mask a sketch and description, against the truth and the baselines
    probes        text alone: volumes in numbers, small against large
    ct            CTs from true label maps, one by one: HU, histogram, noise, edges; with a segmenter, does it see the given labels?
    realism       the same CTs beside real ones: Fréchet distance (with a segmenter), variety, is any a copy of a training scan?
    plausibility  the masks' facts, position and pieces against the training cases'
    neighbours    the masks' nearest training masks: is anything a copy?
    conditions    the same masks from other planes, two sketches, sketch or text alone, an unsteady hand
    obedience     text alone: every measured word and number, does the measurement follow?
    diversity     one request, several seeds

The last three make many further masks and are left out unless named.
"""

from __future__ import annotations

from ..errors import BadRequest

PARTS = ("masks", "probes", "ct", "realism", "plausibility", "neighbours", "conditions", "obedience", "diversity")
DEFAULT = PARTS[:6]
ALL = "all"
_NEEDS = {
    **dict.fromkeys(("probes", "plausibility", "neighbours", "conditions"), "masks"),  # they look at the masks, too
    "realism": "ct",
}


def chosen(text: str | None) -> tuple[str, ...]:
    """The parts that a comma list names, in the order of PARTS, with those they need; None is DEFAULT. Raises BadRequest."""
    if text is None:
        return DEFAULT
    named = {word.strip().lower() for word in text.split(",") if word.strip()}
    if unknown := sorted(named - {ALL, *PARTS}):
        raise BadRequest(f"An evaluation has no part '{unknown[0]}'.", f"Its parts: {', '.join(PARTS)}; or {ALL}.")
    if not named:
        raise BadRequest("No part of the evaluation is named.", f"Its parts: {', '.join(PARTS)}; or {ALL}.")
    if ALL in named:
        return PARTS
    needed = named | {_NEEDS[name] for name in named if name in _NEEDS}
    return tuple(part for part in PARTS if part in needed)
