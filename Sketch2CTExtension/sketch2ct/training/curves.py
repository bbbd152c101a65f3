"""Loss curves of every stage trained in a folder, as one picture."""

from __future__ import annotations

import csv
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def read_logs(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Column -> (step, value), over all runs of a stage in order (a resumed run logs into a folder of its own)."""
    curves: dict[str, list[tuple[int, float]]] = {}
    for path in sorted(folder.glob("logs/version_*/metrics.csv"), key=lambda p: int(p.parent.name.split("_")[1])):
        with path.open(newline="") as stream:
            for row in csv.DictReader(stream):
                for name, value in row.items():
                    if value and name not in ("step", "epoch"):
                        curves.setdefault(name, []).append((int(row["step"]), float(value)))
    return curves


def draw_curves(out: Path, stages: tuple[str, ...] = ("mask", "autoencoder", "volume")) -> Path:
    """Write `out/curves.png`: one panel a stage, training terms solid on the left axis, validation figures dashed on the right."""
    figure, axes = plt.subplots(1, len(stages), figsize=(5.2 * len(stages), 3.8), constrained_layout=True)
    for axis, stage in zip(axes, stages, strict=True):
        other = axis.twinx()
        for n, (name, points) in enumerate(sorted(read_logs(out / stage).items())):
            place, style = (other, "--o") if name.startswith("val_") else (axis, "-")
            label = name.replace("train_", "training ").replace("val_", "validation ")
            place.plot(*zip(*points, strict=True), style, color=f"C{n}", markersize=3, linewidth=1.3, label=label)
        axis.set(title=stage, xlabel="step", yscale="log")
        lines = [*axis.get_lines(), *other.get_lines()]
        axis.legend(lines, [line.get_label() for line in lines], fontsize=7)
        axis.grid(alpha=0.2)
    path = out / "curves.png"
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path
