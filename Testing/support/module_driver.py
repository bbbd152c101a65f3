"""The module as a user has it: opened in the stand-in desktop, drawn in with the mouse, and waited for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import slicer
from numpy.typing import ArrayLike, NDArray

from headless_slicer.desktop import Desktop
from sketch2ct.geometry import Plane
from sketch2ct.request import GenerationRequest

ROOT = Path(__file__).resolve().parents[2]
MODULE = ROOT / "Sketch2CTModule" / "Sketch2CTModule.py"
SAMPLE = ROOT / "Resources" / "Samples" / "mandible.json"
SECONDS = 300.0  # nothing here should take that long; a slow machine may


class ModuleDriver:
    """One opened module. `ui` are its widgets, `panel` its parts."""

    def __init__(self, desktop: Desktop, results: Path, module: Path = MODULE) -> None:
        self.desktop = desktop
        self.widget: Any = desktop.open_module(module)
        self.ui.resultsPath.setCurrentPath(str(results))
        self.panel.generate.doubleClickS = 0.0  # tests click faster than people
        self.results = results

    @property
    def ui(self) -> Any:
        return self.widget.ui

    @property
    def panel(self) -> Any:
        return self.widget._panel

    @property
    def parameters(self) -> Any:
        return self.panel.parameters

    @property
    def generation(self) -> Any:
        return self.panel.generation

    @property
    def run(self) -> Any:
        """The run under review."""
        return self.panel.review.run

    def describe(self, text: str) -> None:
        self.ui.descriptionEdit.setPlainText(text)

    def choose(self, combo: Any, value: str) -> None:
        """Choose an item by what it stands for."""
        combo.setCurrentIndex(combo.findData(value))

    def show(self, view: str, matrix: ArrayLike, width: float = 200.0) -> None:
        """Bring a slice view onto a plane (4x4 SliceToRAS), `width` mm wide."""
        node = self.desktop.views[view].node
        node.GetSliceToRAS().DeepCopy(np.asarray(matrix, dtype=float).ravel())
        node.SetXYZOrigin(0, 0, 0)
        columns, rows = node.GetDimensions()[:2]
        node.SetFieldOfView(width, width * rows / columns, node.GetFieldOfView()[2])
        node.UpdateMatrices()
        self.desktop.process_events()

    def draw(self, view: str, points: NDArray[np.float64]) -> None:
        """Switch the pen on, draw through RAS points (N, 3) with the mouse, and switch it off."""
        if not self.ui.drawButton.checked:
            self.desktop.click(self.ui.drawButton)
        self.desktop.drag(view, [self.desktop.position(view, point) for point in points])
        self.desktop.click(self.ui.drawButton)

    def draw_mandible(self) -> None:
        """The sketch of the shipped sample, drawn on the axial view."""
        sketch = GenerationRequest.read(SAMPLE).sketches[0]
        plane = Plane.named("axial", sketch.points().mean(axis=0))
        self.show("Red", plane.matrix)
        self.draw("Red", sketch.strokes[0])
        self.describe("a broad mandible, about 62 mL")

    def generate(self, until: Callable[[], bool] | None = None) -> None:
        """Press Generate; wait until the run has ended, or `until` comes true."""
        assert self.ui.generateButton.enabled, self.ui.statusLabel.text
        self.desktop.click(self.ui.generateButton)
        self.wait(until or (lambda: not self.generation.busy))

    def wait(self, condition: Callable[[], bool], seconds: float = SECONDS) -> None:
        assert self.desktop.wait(condition, seconds), f"waited {seconds} s; {self.generation.backend.logText()[-2000:]}"

    def stages(self) -> list[str]:
        """A list that gets the name of every stage as it is reported."""
        heard: list[str] = []
        self.generation.progress.connect(lambda stage, *_: heard.append(stage))
        return heard


def nodes(kind: str) -> list[Any]:
    """The results of a class in the scene: canvas and guide left out."""
    return [node for node in slicer.util.getNodesByClass(kind) if node.GetName().startswith("SYNTHETIC")]
