"""Measures the review of a cohort against its targets: 1,000 listed cases on the frame of the head-and-neck bundle.

On slicer-core with stand-ins for Qt's Slicer widgets and views that are drawn without a GPU; nothing here has run in the desktop
application. Prints a table and, with `--out`, writes every figure as JSON. A key press counts until every view that is shown has
drawn the case. `cpu` is the time that this process computed meanwhile, which other programs on the machine do not lengthen; `handler` is
the part of it that the module takes, until its handler of the key has returned: the rest is the drawing of the views, on the CPU here.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import slicer
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest

from headless_slicer import bootstrap
from module_driver import ModuleDriver
from review_cohorts import HEADNECK, lengthen, make_cohort
from reviewing import Reviewing
from sketch2ct.cohort.folder import Cohort
from sketch2ct.review.store import ReviewStore

DISTINCT, PRESSES = 20, 60
PAUSE_S = 0.3  # a reviewer who hurries; 0 is a key that is held down
# Figure -> (must, goal), seconds.
TARGETS = {"next_s": (0.5, 0.15), "next_held_s": (0.5, 0.15), "accept_s": (0.5, 0.15), "listing_s": (0.05, 0.05)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--cases", type=int, default=1000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = make_cohort(Path(name) / "cohort", DISTINCT, HEADNECK)
        lengthen(root, arguments.cases)
        figures = measure(root, Path(name))
    figures["machine"] = {"cores": os.cpu_count(), "load": os.getloadavg()[0]}
    if arguments.out:
        arguments.out.write_text(json.dumps(figures, indent=1))
    for key, (must, goal) in TARGETS.items():
        value = figures[key]
        verdict = "goal" if value <= goal else "must" if value <= must else "MISSED"
        print(f"{key:12} {value:8.4f} s  must {must:<5g} goal {goal:<5g} {verdict}")
    print(json.dumps(figures, indent=1))


def measure(root: Path, folder: Path) -> dict[str, Any]:
    """Seconds; `p95` of presses."""
    cohort = Cohort.open(root)
    figures: dict[str, Any] = {"cases": len(cohort.names()), "listing_s": min(_timed(cohort.names) for _ in range(5))}
    (folder / "slicer").mkdir()
    app = bootstrap(folder / "slicer", qt=True)
    from headless_slicer.desktop import Desktop
    from Sketch2CTModuleLib.EnvironmentCheck import EnvironmentCheck

    EnvironmentCheck.run = lambda self: None
    desktop = Desktop(app)
    module = ModuleDriver(desktop, folder / "results")
    figures["open_s"] = _timed(lambda: Reviewing(module, root))
    session = module.panel.cohort.session
    begun = time.perf_counter()
    desktop.wait(lambda: session.readSome(0), 120)
    figures["table_read_s"] = time.perf_counter() - begun
    screen = Screen(desktop)
    for key, pause, name in (("N", PAUSE_S, "next"), ("N", 0.0, "next_held"), ("A", PAUSE_S, "accept")):
        walls, cpus, handlers = zip(*(screen.press(key, pause) for _ in range(PRESSES)), strict=True)
        for kind, values in (("", walls), ("_cpu", cpus), ("_handler_cpu", handlers)):
            figures[f"{name}{kind}_s"] = float(np.percentile(values, 95))
            figures[f"{name}{kind}_median_s"] = float(np.median(values))
    assert len(ReviewStore(root).statuses()) == PRESSES
    slicer.app.layoutManager().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView)
    figures["next_one_view_cpu_median_s"] = float(np.median([screen.press("N", PAUSE_S)[1] for _ in range(15)]))
    desktop.close()
    app.close()
    return figures


class Screen:
    """Presses keys, and knows when the slice views have drawn."""

    def __init__(self, desktop: Any) -> None:
        self._desktop = desktop
        self._drawn: set[str] = set()
        for name, view in desktop.views.items():
            view.interactor.GetRenderWindow().AddObserver("EndEvent", lambda *_args, name=name: self._drawn.add(name))

    def press(self, key: str, pause: float) -> tuple[float, float, float]:
        """Press a key in the red view.

        Wall-clock and computing seconds until every shown slice view has drawn, and the computing seconds of the handler.
        """
        view = self._desktop.widget("Red")
        view.setFocus()
        self._drawn.clear()
        wall, cpu = time.perf_counter(), time.process_time()
        QTest.keyClick(view, getattr(Qt, f"Key_{key}"))
        handler = time.process_time() - cpu
        names = {name for name in self._desktop.layout.sliceViewNames() if self._desktop.widget(name).visible}
        while not names <= self._drawn:
            self._desktop.process_events()
        took = time.perf_counter() - wall, time.process_time() - cpu, handler
        if pause:
            self._desktop.wait(lambda: False, pause)
        return took


def _timed(action: Any) -> float:
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
