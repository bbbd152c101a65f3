"""A sheet of whole regions from words alone: a row a sample, what was said above it, three planes of the label map and of the CT."""

from __future__ import annotations

import tempfile
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .. import bundle as bundles
from .. import pairing
from ..anatomy import vocabulary
from ..describe import Facts, Ranges
from ..describe.measure import FACTS
from ..describe.region import describe
from ..describe.relations import Pair
from ..engine import Engine
from ..geometry import ORIENTATIONS, Plane
from ..imaging import CTVolume, LabelVolume, read_ct, read_labels
from ..naming import names_beside
from ..preview import View
from ..request import WHOLE_REGION, GenerationRequest
from ..results import writing
from .case import seeds

BACKGROUND, INK, DIM = "#14171c", "#e6e9ef", "#8b93a1"
_ROW_INCHES, _TEXT_INCHES, _WIDTH_INCHES = 1.55, 0.4, 12.0
_WINDOW: dict[str, Any] = {"vmin": -200, "vmax": 400, "cmap": "gray"}
_LINE = 190  # characters


@dataclass(frozen=True)
class Shown:
    """One sample to draw: what was said, and what was made of it."""

    text: str
    labels: LabelVolume
    ct: CTVolume


def words(metadata: dict[str, Any], seed: int) -> str:
    """A random description of a person who does not exist: every fact at a percentile of its own among the training cases, the sides
    alike but for a little."""
    rng = np.random.default_rng(seeds(seed, "sheet"))
    facts: dict[str, Facts] = {}
    for name in metadata["structures"]:
        if name not in metadata["ranges"]:
            continue
        ranges, entry = Ranges.from_dict(metadata["ranges"][name]), vocabulary()[name]
        twin = facts.get(entry.mirror or "")
        size = float(rng.uniform(10, 90))
        values = {fact: ranges.value_at(fact, float(np.clip(size + rng.normal(0, 12), 5, 95))) for fact in FACTS}
        if twin is not None:
            values["volume_ml"] = twin.volume_ml * float(np.exp(rng.normal(0, 0.15)))
        place = metadata["placement"].get(name, (0.0, 0.0, 0.0))
        facts[name] = Facts.from_dict({**values, "components": 1, "centroid_ras": place})
    known = {name: Ranges.from_dict(metadata["ranges"][name]) for name in facts}
    pairs = tuple(Pair(**pair) for pair in metadata.get("region", {}).get("pairs", []))
    return describe(facts, known, rng, pairs=pairs)


def sheet(
    bundle: str,
    out: Path,
    *,
    count: int = 10,
    volume_bundle: str | None = None,
    seed: int = 0,
    steps: int | None = None,
    device: str = "auto",
    engine: Any = None,
) -> Path:
    """Make `count` regions from words alone and draw them; the path. Raises BadRequest, BundleMissing, BundleCorrupt or WriteFailed."""
    metadata, engine = bundles.load(bundle).metadata, engine or Engine()
    asked = GenerationRequest(bundle=bundle, mask_generator=WHOLE_REGION[0], volume_bundle=volume_bundle, steps=steps, device=device)
    asked = pairing.fitted(asked, "volume")
    shown = []
    with tempfile.TemporaryDirectory(prefix="sketch2ct-") as scratch:
        for n in range(count):
            request = asked.with_changes(description=words(metadata, seed + n), seed=seed + n)
            folder = engine.generate(request, Path(scratch) / str(n))[0]
            path = folder / "labels.nii.gz"
            labels = read_labels(path, names_beside(path) or {})
            shown.append(Shown(request.description, labels, read_ct(folder / "ct.nii.gz")))
    out = Path(out)
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        draw(shown, out)
    return out


def draw(shown: list[Shown], path: Path) -> Path:
    """The sheet of some samples: columns axial, coronal and sagittal through the middle of the structures, label map then CT."""
    height = (_ROW_INCHES + _TEXT_INCHES) * len(shown) + 0.5
    figure = Figure(figsize=(_WIDTH_INCHES, height), dpi=110, facecolor=BACKGROUND)
    FigureCanvasAgg(figure)
    margins = {"wspace": 0.03, "hspace": 0.02, "left": 0.01, "right": 0.99, "top": 1 - 0.05 / height, "bottom": 0.4 / height}
    layout = figure.add_gridspec(2 * len(shown), 6, height_ratios=[_TEXT_INCHES, _ROW_INCHES] * len(shown), **margins)
    for row, sample in enumerate(shown):
        told = figure.add_subplot(layout[2 * row, :])
        told.axis("off")
        title = textwrap.shorten(f"{row + 1}. {sample.text}", 2 * _LINE, placeholder=" ...")
        told.text(0, 0.06, "\n".join(textwrap.wrap(title, _LINE)), color=INK, fontsize=7.5, va="bottom", transform=told.transAxes)
        for column, view in enumerate(_views(sample.labels)):
            for side in range(2):
                axes = figure.add_subplot(layout[2 * row + 1, 3 * side + column])
                if side == 0:
                    axes.imshow(_colours(sample.labels, view), origin="lower", extent=view.extent)
                else:
                    axes.imshow(
                        view.sample(sample.ct.array.astype(np.float32), sample.ct.grid, -1000.0),
                        origin="lower",
                        extent=view.extent,
                        **_WINDOW,
                    )
                axes.set(xlim=view.extent[:2], ylim=view.extent[2:], xticks=[], yticks=[], aspect="equal", facecolor="black")
    names = dict.fromkeys(name for s in shown for name in s.labels.names.values() if not vocabulary()[name].derived)
    for n, name in enumerate(names):
        figure.text(0.01 + 0.14 * n, 0.12 / height, vocabulary()[name].spoken, color=np.asarray(vocabulary()[name].color) / 255, fontsize=8)
    figure.savefig(path, format="png", facecolor=BACKGROUND)
    return path


def _views(labels: LabelVolume) -> list[View]:
    structures = [value for value, name in labels.names.items() if not vocabulary()[name].derived]
    index = np.argwhere(np.isin(labels.array, structures))
    centre = labels.grid.to_ras(index.mean(axis=0)) if len(index) else labels.grid.centre
    views = []
    for name in ORIENTATIONS:
        plane = Plane.named(name, centre)
        flat = plane.to_plane(labels.grid.corners())[:, :2]
        views.append(View(plane, name, flat.min(0), flat.max(0), float(labels.grid.spacing.min()) / 2))
    return views


def _colours(labels: LabelVolume, view: View) -> Any:
    """Label colours (u, v, 3) in 0..1; what thresholds give, dimmed."""
    image: Any = None
    for value, name in sorted(labels.names.items(), key=lambda item: not vocabulary()[item[1]].derived):
        share = view.sample((labels.array == value).astype(np.float32), labels.grid, 0.0)
        image = np.zeros((*share.shape, 3)) if image is None else image
        entry = vocabulary()[name]
        image[share >= 0.5] = np.asarray(entry.color) / 255 * (0.35 if entry.derived else 1.0)
    return image
