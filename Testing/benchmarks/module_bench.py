"""Measures the module against its targets, with the real backend and the shipped weights: `make bench`.

On slicer-core with stand-ins for Qt's Slicer widgets; nothing here has run in the desktop application. Prints a table and
writes every figure as JSON to the file named by `--out`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from drawing_bench import measure_drawing
from headless_slicer import bootstrap
from loading_bench import loading_figures
from module_driver import ROOT, ModuleDriver

# Figure -> (must, goal, unit); smaller is better.
TARGETS = {
    "pen_move_ms": (4.0, 1.0, "ms"),
    "stroke_in_plane_mm": (0.5, 0.1, "mm"),
    "stroke_off_plane_mm": (0.01, 0.001, "mm"),
    "event_loop_gap_ms": (100.0, 30.0, "ms"),
    "cancel_s": (3.0, 1.0, "s"),
    "result_to_screen_s": (3.0, 1.0, "s"),
    "geometry_mm": (1e-3, 1e-6, "mm"),
    "worker_ready_cold_s": (15.0, 6.0, "s"),
}
CANCELS = 5  # of each stage
_TICK_MS = 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        details = {"drawing": measure_drawing(_new(folder / "drawing")), "loading": loading_figures()}
        details["start"] = measure_start()
        with opened(folder / "module") as module:
            details["run"] = measure_run(module)
            details["cancel"] = measure_cancel(module)
    figures = {
        "pen_move_ms": details["drawing"]["move_ms_p95"],
        "stroke_in_plane_mm": details["drawing"]["in_plane_mm"],
        "stroke_off_plane_mm": details["drawing"]["off_plane_mm"],
        "event_loop_gap_ms": max(details["run"]["cold_gap_ms"], details["run"]["warm_gap_ms"]),
        "cancel_s": max(details["cancel"].values()),
        "result_to_screen_s": max(details["loading"]["screen_s"], details["run"]["load_s"]),
        "geometry_mm": max(details["loading"]["ct_deviation_mm"], details["loading"]["mask_deviation_mm"]),
        "worker_ready_cold_s": details["start"]["cold_s"],
    }
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.platform(), "load": os.getloadavg()[0]}
    if arguments.out:
        arguments.out.write_text(json.dumps({"figures": figures, "targets": TARGETS, "details": details, "machine": machine}, indent=1))
    for name, value in figures.items():
        must, goal, unit = TARGETS[name]
        verdict = "goal" if value <= goal else "must" if value <= must else "MISSED"
        print(f"{name:22} {value:10.4g} {unit:3} must {must:<6g} goal {goal:<6g} {verdict}")
    print(f"gap when the result is loaded: {details['run']['warm_gap_with_loading_ms']:.0f} ms")
    print(f"{machine}\ncold start: {details['start']['note']}")


def _new(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


@contextmanager
def opened(folder: Path) -> Iterator[ModuleDriver]:
    """The module in a fresh desktop, its environment looked at, the sample's sketch drawn."""
    app = bootstrap(_new(folder), qt=True)
    from headless_slicer.desktop import Desktop

    desktop = Desktop(app)
    module = ModuleDriver(desktop, folder / "results")
    module.wait(lambda: module.panel.environment.isReady)
    module.panel.generation.warmUp = lambda: None  # so that the first run shows the cold start
    module.draw_mandible()
    yield module
    desktop.close()
    app.close()


class Gaps:
    """The longest time (ms) between two turns of the event loop, and when it ended."""

    def __init__(self) -> None:
        import qt

        self.longest, self._last = 0.0, time.perf_counter()
        self._timer = qt.QTimer()
        self._timer.setInterval(_TICK_MS)
        self._timer.connect("timeout()", self._tick)
        self._timer.start()

    def _tick(self) -> None:
        now = time.perf_counter()
        self.longest = max(self.longest, 1000 * (now - self._last))
        self._last = now

    def stop(self) -> float:
        self._timer.stop()
        return self.longest


def spin(done: Callable[[], bool]) -> None:
    """Qt's own event loop, as the application runs it, until `done()`: nothing here sleeps or polls on its own."""
    import qt

    loop, watch = qt.QEventLoop(), qt.QTimer()
    watch.setInterval(5)
    watch.connect("timeout()", lambda: loop.quit() if done() else None)
    watch.start()
    if not done():
        loop.exec()
    watch.stop()


def measure_run(module: ModuleDriver) -> dict[str, float]:
    """Two runs: longest gap of the event loop from the click to the result's arrival, then the seconds until it is on the screen."""
    figures = {}
    for name in ("cold", "warm"):
        arrived: list[float] = []
        gaps, whole = Gaps(), Gaps()
        longest: list[float] = []

        def on_arrival(*_: object, gaps=gaps, arrived=arrived, longest=longest) -> None:
            longest.append(gaps.stop())
            arrived.append(time.perf_counter())

        # in front of the module's own listener, which loads the result
        module.generation.backend.finished._listeners.insert(0, on_arrival)
        start = time.perf_counter()
        module.desktop.click(module.ui.generateButton)
        spin(lambda: not module.generation.busy)
        module.desktop.process_events()
        figures[f"{name}_gap_with_loading_ms"] = whole.stop()
        module.desktop.screenshot()
        figures[f"{name}_load_s"] = time.perf_counter() - arrived[0]
        figures[f"{name}_s"], figures[f"{name}_gap_ms"] = arrived[0] - start, longest[0]
        module.generation.backend.finished.disconnect(on_arrival)
    figures["load_s"] = max(figures["cold_load_s"], figures["warm_load_s"])
    return figures


def measure_cancel(module: ModuleDriver) -> dict[str, float]:
    """Longest seconds from the click on Cancel until the button offers the next run, by stage; CANCELS tries each."""
    figures: dict[str, float] = {}
    for stage in ("start", "load", "mask", "volume", "write"):
        for _ in range(CANCELS):
            heard = module.stages()
            if stage == "start":
                module.generation.backend.stop()
            module.desktop.click(module.ui.generateButton)
            if stage != "start":
                spin(lambda stage=stage, heard=heard: stage in heard or not module.generation.busy)
            before = time.perf_counter()
            if module.generation.busy:
                module.desktop.click(module.ui.generateButton)
                spin(lambda: not module.generation.busy)
                figures[stage] = max(figures.get(stage, 0.0), time.perf_counter() - before)
            spin(lambda: module.ui.generateButton.enabled)
    return figures


def measure_start() -> dict[str, object]:
    """Seconds from starting the worker's process to its `ready` line, without and with its files in the system's cache."""
    emptied = _empty_file_cache()
    note = "file cache emptied first" if emptied else "the file cache could not be emptied: this is a warm start"
    cold = _start()
    return {"cold_s": cold, "warm_s": statistics.median(_start() for _ in range(3)), "note": note}


def _empty_file_cache() -> bool:
    try:
        os.sync()
        Path("/proc/sys/vm/drop_caches").write_text("3")
    except OSError:
        return False
    return True


def _start() -> float:
    script = ROOT / "Sketch2CTExtension" / "sketch2ct_backend.py"
    begun = time.perf_counter()
    command, pipe = [sys.executable, str(script), "worker"], subprocess.PIPE
    worker = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)
    assert worker.stdin and worker.stdout
    ready = json.loads(worker.stdout.readline())["type"] == "ready"
    seconds = time.perf_counter() - begun
    worker.stdin.close()
    worker.wait(30)
    if not ready:
        raise RuntimeError("The worker did not get ready.")
    return seconds


if __name__ == "__main__":
    main()
