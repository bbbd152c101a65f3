"""Takes the pictures of the README, with the real backend and the shipped weights: `make screenshots`.

They show the stand-in desktop (slicer-core's real views, Qt's widgets in place of Slicer's), and synthetic data only.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import slicer
from PIL import Image

from headless_slicer import bootstrap
from module_driver import ROOT, ModuleDriver
from sketch2ct.geometry import Plane
from sketch2ct.imaging import LabelVolume, read_labels
from sketch2ct.naming import names_beside
from sketch2ct.sketching import largest_section, sketch_of

FOLDER = ROOT / "Resources" / "Screenshots"
LIMIT = 2**20  # bytes, all pictures of the README together
_COLOURS = 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=FOLDER)
    out = parser.parse_args().out
    with tempfile.TemporaryDirectory() as name:
        app = bootstrap(Path(name), qt=True)
        from headless_slicer.desktop import Desktop

        desktop = Desktop(app)
        module = ModuleDriver(desktop, Path(name) / "results")
        module.wait(lambda: module.panel.environment.isReady)
        guide = read_guide()
        before_and_after(module, guide, out)
        two_sketches(module, guide, out)
        desktop.close()
        app.close()
    size = sum(path.stat().st_size for path in out.glob("*.png"))
    print(f"{size / 1024:.0f} KiB in {out}")
    if size > LIMIT:
        raise SystemExit(f"The pictures are larger than {LIMIT / 1024:.0f} KiB together.")


def before_and_after(module: ModuleDriver, guide: LabelVolume, out: Path) -> None:
    """A mandible on the empty canvas: sketched, under way, and done."""
    module.desktop.click(module.ui.canvasButton)
    draw(module, guide, "mandible", "axial", "Red")
    module.describe("a broad mandible, about 62 mL, with thin rami")
    shoot(module, out / "module-before.png")
    module.generate(until=lambda: module.ui.progressBar.value > 500)
    shoot(module, out / "module-during.png")
    module.wait(lambda: not module.generation.busy)
    shoot(module, out / "module-after.png")


def two_sketches(module: ModuleDriver, guide: LabelVolume, out: Path) -> None:
    """A brainstem from two sketches on two planes, two samples."""
    slicer.mrmlScene.Clear(0)
    module.desktop.click(module.ui.canvasButton)
    module.choose(module.ui.structureSelector, "brainstem")
    draw(module, guide, "brainstem", "axial", "Red")
    draw(module, guide, "brainstem", "sagittal", "Yellow")
    module.describe("a long brainstem of 28 mL")
    module.ui.samplesSpin.value = 2
    module.generate()
    shoot(module, out / "module-two-sketches.png")


def draw(module: ModuleDriver, guide: LabelVolume, structure: str, orientation: str, view: str) -> None:
    """Draw the guide's largest section with a careful hand."""
    mask = guide.mask(structure)
    plane = largest_section(mask, guide.grid, (orientation,))
    sketch = sketch_of(mask, guide.grid, structure, plane, np.random.default_rng(1))
    centre = (sketch.points().min(axis=0) + sketch.points().max(axis=0)) / 2
    node = module.desktop.views[view].node
    width = node.GetFieldOfView()[0]
    module.show(view, Plane.named(orientation, centre).matrix, min(width, 260.0))
    for stroke in sketch.strokes:
        module.draw(view, stroke)


def read_guide() -> LabelVolume:
    """The bundle's average anatomy."""
    file = ROOT / "Resources" / "Bundles" / "headneck" / "guide.nii.gz"
    return read_labels(file, names_beside(file))


def shoot(module: ModuleDriver, path: Path) -> None:
    """The whole window as a PNG with a palette, which is a third of the size."""
    module.desktop.process_events()
    picture = Image.fromarray(module.desktop.screenshot())
    picture.quantize(_COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.FLOYDSTEINBERG).save(path, optimize=True)


if __name__ == "__main__":
    main()
