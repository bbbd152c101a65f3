"""What the autoencoders of several runs lose: the mean absolute error in HU inside the body, by tissue.

    python -m sketch2ct.evaluation.autoencoder_error headneck-guidegen-soft=FIXED headneck-guidegen=OURS --data DATA --split Ts

Each RECIPE=RUN names a recipe and the folder of its training; the errors of the first are divided by those of each other. The tissues are
what thresholds tell of a scan (bone, inner air) and the rest of its body, where it was stored. What an autoencoder cannot tell, because it
lies beyond a fixed range, counts as its error.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray

from ..data.nnunet import Dataset
from ..data.scans import Scan, build_scans
from ..errors import BadRequest, Sketch2CTError
from ..modality import CT, of
from ..networks.autoencoder import DOWN, CTAutoencoder
from ..training.autoencoder_stage import trained_autoencoder
from ..training.run import read_recipe
from . import metrics

TISSUES = ("bone", "air", "soft")


def tissue_masks(scan: Scan) -> dict[str, NDArray[np.bool_]]:
    """Bone, inner air and the rest of the body (i, j, k) of a CT, where it was stored."""
    body, bone, air = (scan.labels[n - len(CT.derived)] >= 128 for n in range(len(CT.derived)))
    return {"bone": bone & scan.known, "air": air & scan.known, "soft": body & ~bone & ~air & scan.known}


@torch.inference_mode()
def errors(net: CTAutoencoder, scan: Scan) -> dict[str, float]:
    """Mean absolute error (HU) of the decoded latent mean by tissue; NaN where a scan has none of it."""
    part = tuple(slice(0, n // (2 * DOWN) * 2 * DOWN) for n in scan.hu.shape)
    hu = scan.hu[part].astype(np.float32)
    made = net.decode(net.encode(torch.from_numpy(hu)[None, None]))[0, 0].float().numpy()
    wrong = np.abs(made - hu)
    return {name: float(wrong[mask[part]].mean()) if mask[part].any() else float("nan") for name, mask in tissue_masks(scan).items()}


def compare(nets: dict[str, CTAutoencoder], scans: list[Scan], seed: int = 0) -> dict[str, Any]:
    """`{"cases", "runs": {name: {tissue: summary of HU}}, "ratios": {name: {tissue: first run's error / its own}}}` over the scans."""
    found = {name: [errors(net, scan) for scan in scans] for name, net in nets.items()}
    runs = {name: {t: metrics.summary([own[t] for own in each], seed) for t in TISSUES} for name, each in found.items()}
    first, *others = runs
    return {"cases": len(scans), "runs": runs, "ratios": {n: {t: _ratio(runs[first][t], runs[n][t]) for t in TISSUES} for n in others}}


def _ratio(a: dict[str, Any], b: dict[str, Any]) -> float | None:
    return round(a["mean"] / b["mean"], 3) if a["mean"] is not None and b["mean"] else None


def table(result: dict[str, Any]) -> str:
    """The result as lines of text."""
    lines = [f"Mean absolute error in HU, {result['cases']} scans"]
    for name, own in result["runs"].items():
        lines.append(f"{name}: " + ", ".join(f"{tissue} {own[tissue]['mean']}" for tissue in TISSUES))
    first = next(iter(result["runs"]))
    for name, ratios in result["ratios"].items():
        lines.append(f"{first} / {name}: " + ", ".join(f"{tissue} {ratios[tissue]}" for tissue in TISSUES))
    return "\n".join(lines)


def measure(runs: list[str], data: Path, split: str, cases: int | None = None, seed: int = 0) -> dict[str, Any]:
    """`compare` of runs given as RECIPE=RUN on the first so many cases of a split. Raises BadRequest."""
    nets: dict[str, CTAutoencoder] = {}
    recipes = []
    for text in runs:
        name, _, folder = text.partition("=")
        if not folder:
            raise BadRequest(f"'{text}' is no RECIPE=RUN.", "For example headneck-guidegen=runs/guidegen.")
        recipes.append(read_recipe(name))
        label = name if name not in nets else text
        nets[label] = trained_autoencoder(recipes[-1], Path(folder))
    dataset, spacing = Dataset(Path(data)), recipes[0]["frame"]["spacing"]
    if dataset.modality is not CT or any(of(recipe) is not CT for recipe in recipes):
        raise BadRequest("Bone and air are told by thresholds in CT only.", "Name a data set and recipes of CT.")
    if any(recipe["frame"]["spacing"] != spacing for recipe in recipes):
        raise BadRequest("The recipes have other voxels.", "Compare autoencoders of one spacing.")
    chosen = dataset.cases(split)[:cases]
    if not chosen:
        raise BadRequest(f"{data} has no cases of {split}.", "Name another split.")
    i, j, k = spacing
    return compare(nets, build_scans(dataset, chosen, (), (i, j, k), 1), seed)


def main(
    runs: Annotated[list[str], typer.Argument(help="RECIPE=RUN, the one to compare with first.")],
    data: Annotated[Path, typer.Option(help="A data set in nnU-Net layout.")],
    split: Annotated[str, typer.Option(help="Tr, Va or Ts.")] = "Va",
    cases: Annotated[int | None, typer.Option(min=1, help="Only the first so many.")] = None,
    out: Annotated[Path | None, typer.Option(help="Also write the result here, as JSON.")] = None,
) -> None:
    """Print what autoencoders lose by tissue, and how the first compares with the others."""
    try:
        result = measure(runs, data, split, cases)
    except Sketch2CTError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    typer.echo(table(result))
    if out is not None:
        out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
