"""Plots of figures with their intervals: is every mark where its figure says?"""

import numpy as np
import pytest

from invented_report import number
from sketch2ct.evaluation import forest, html_parts


def test_marks_and_intervals_lie_where_the_figures_say():
    rows = [forest.Row("a", [number(0.5, 0.4, 0.7), None]), forest.Row("b", [number(0.9, 0.8, 1.0), number(0.2, 0.1, 0.3)], (0.0, 0.6))]
    axes = forest.forest(rows, (forest.MADE, forest.REAL), forest.Axis("Dice", (0, 1), mark=0.75), "range").axes[0]
    lines = {(*np.round(line.get_xdata(), 3).tolist(),): np.round(line.get_ydata(), 3).tolist() for line in axes.lines}
    upper, lower = lines[0.5,][0], lines[0.9,][0]
    assert upper == pytest.approx(lower - 1), "rows stand one below the other"
    assert lines[0.4, 0.7] == [upper, upper] and lines[0.8, 1.0] == [lower, lower]
    assert lower < lines[0.2,][0] < 1.5, "the second series stands in its row"
    assert axes.yaxis_inverted() and [text.get_text() for text in axes.get_yticklabels()] == ["a", "b"]
    assert (0.75, 0.75) in lines
    (shade,) = [patch for patch in axes.patches if patch.get_width()]
    assert (shade.get_x(), shade.get_width()) == (0.0, 0.6)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["generated", "real", "range"]


def test_the_noise_spectrum_stands_over_its_frequencies():
    noise = {"nps_0": {"generated": number(800, 700, 900), "real": number(1600, 1500, 1700)}}
    noise["nps_1"] = {"generated": number(90, 80, 95), "real": {"mean": None, "ci95": [None, None], "n": 0}}
    axes = forest.spectrum(noise, [("nps_0", 0.25), ("nps_1", 0.5), ("nps_2", 0.75)]).axes[0]
    curves = [(list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines]
    assert ([0.25, 0.5], [800, 90]) in curves and ([0.25], [1600]) in curves
    assert ([0.25, 0.25], [700, 900]) in curves


def test_plots_tell_what_they_show():
    rows, series = [("mandible", {"x": number(0.5, 0.4, 0.6)}), ("larynx", {})], ((forest.MADE, ("x",)), (forest.REAL, ("y",)))
    made = html_parts.forest_plot(rows, series, forest.Axis("Dice"), "Dice")
    assert len(made) == 1 and made[0].alt.startswith("Plot of Dice (generated):")
    assert html_parts.forest_plot([("mandible", {})], ((forest.MADE, ("x",)),), forest.Axis("Dice"), "Dice") == []
