"""DATA_CARD.md: the facts of `data_card` in words that a reader without our program understands. No torch."""

from __future__ import annotations

from typing import Any

_LIMITS = """\
- Every CT was made by a generative model; nobody was scanned for it.
- **Not for diagnosis, treatment planning, or any decision about a patient.**
- **Do not test on it.** Figures measured on synthetic cases say how well a method knows the generator, not how well it works on patients. \
Use it to train or to augment, and test on real, independent cases.
- The CT follows the mask, so mask and CT agree better than a human contour and a scan do. Texture is smooth, small bones are blurred, \
what no label asks for may be misshapen, and there is no scanner noise of any one protocol, no metal and no contrast phase.
- A structure that is not labelled in a case may still be visible in its CT. It is unlabelled, not absent.
- Detail is no finer than the voxels the model works on, whatever the voxels of the files.
- What the training data lack (other regions, ages, diseases, devices) is lacking here too."""

_GATES = {"pass": "passed", "flag": "flagged", "reject": "rejected", "none": "not judged"}


def counted(cases: int) -> str:
    """How many cases, in words."""
    return f"{cases} case" if cases == 1 else f"{cases} cases"


def text(card: dict[str, Any]) -> str:
    """The card as Markdown."""
    parts = [
        f"# {card['name']}: synthetic CT with segmentation masks",
        f"**SYNTHETIC.** Cases: {card['cases']}, in groups: {card['groups']}. Exported by {card['made_by']} on {card['created']} as "
        f"{card['format']}. Cases of one group come from one base request and never stand on both sides of a split.",
        "## Structures",
        _structures(card),
        "Voxels: " + "; ".join(f"{grid} ({counted(count)})" for grid, count in card["grids"].items()),
        "## Where they come from",
        _origin(card),
        "## How they were chosen",
        _chosen(card),
        "## Use",
        "Meant for training, augmenting and trying out segmentation methods, and for teaching. OUT is this folder.",
        "```\n" + "\n".join(card["usage"]) + "\n```",
        *(f"> {note}" for note in card["notes"]),
        "## Limits",
        _LIMITS,
        "## Licence and citation",
        f"Weights: {card['licence']}. The images are output of these weights: pass this card and that licence on with them.",
        f'Cite as: "{card["name"]}, {counted(card["cases"])} of synthetic CT made with Sketch2CT, bundle {card["model"]["bundle"]}, '
        f'SHA-256 {_hash(card)}, {card["created"][:10]}."',
    ]
    return "\n\n".join(parts) + "\n"


def _structures(card: dict[str, Any]) -> str:
    rows = ["| structure | cases | volume, mL: smallest | median | largest |", "|---|---|---|---|---|"]
    for name, facts in card["structures"].items():
        volume = facts["volume_ml"]
        rows.append(f"| {name} | {facts['cases']} | {volume['min']:.1f} | {volume['median']:.1f} | {volume['max']:.1f} |")
    return "\n".join(rows)


def _origin(card: dict[str, Any]) -> str:
    model, seeds = card["model"], card["seeds"]
    hashes = ", ".join(f"{value} ({counted(count)})" for value, count in model["hashes"].items())
    versions = "; ".join(" ".join(f"{key} {value}" for key, value in found.items()) for found in model["versions"])
    listed = ", ".join(map(str, seeds["list"])) if seeds["list"] else f"{seeds['count']} from {seeds['smallest']} to {seeds['largest']}"
    rows = [f"- Model: bundle {model['bundle']}, SHA-256 {hashes}", f"- Versions: {versions or 'not recorded'}"]
    rows += [f"- Generators: {what} ({count})" for what, count in model["generators"].items()]
    rows += [f"- The model was trained on: {model['training_data']}"] if model["training_data"] else []
    rows.append(f"- Seeds: {listed}")
    most = "; ".join(f"{source} ({n})" for source, n in card["sources"]["most"].items())
    rows.append(f"- Made from {_counted(card['sources']['count'], 'source')}: {most}")
    return "\n".join(rows)


def _chosen(card: dict[str, Any]) -> str:
    reviews, masks = card["reviews"], card["masks_used"]
    stood = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in reviews["standings"].items())
    rows = [f"- Reviews of the whole cohort: {stood}. Exported: {card['include']}."]
    if isinstance(reviews["verdicts"], dict):
        rows.append("- Reviewers: " + (", ".join(f"{name} ({counted(count)})" for name, count in reviews["verdicts"].items()) or "none"))
    else:
        said = ", ".join(map(str, reviews["verdicts"]))
        rows.append(f"- Reviewers of the exported cases: {reviews['reviewers']}" + (f", with {said} verdicts" if said else ""))
    gates = ", ".join(f"{count} {_GATES.get(name, name)}" for name, count in card["gates"]["verdicts"].items())
    rows.append(f"- Automatic gates on the exported cases: {gates}.")
    rows.append(f"- Masks: {masks['generated']} as generated, {masks['edited']} edited by hand, {masks['given']} given with the request.")
    rows += [f"- Skipped: {name}: {reason}" for name, reason in card["skipped"].items()]
    return "\n".join(rows)


def _hash(card: dict[str, Any]) -> str:
    return str(next(iter(card["model"]["hashes"]), ""))


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
