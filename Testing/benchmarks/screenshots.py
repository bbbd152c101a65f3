"""Takes the pictures of the README, with the real backend and the shipped weights: `make screenshots`.

They show the stand-in desktop (slicer-core's real views, Qt's widgets in place of Slicer's), and synthetic data only. The cohort that is
reviewed in one of them takes minutes to make; `--cohort` takes one that is there instead, of which a copy without its verdicts is reviewed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import slicer
from PIL import Image
from PySide6.QtWidgets import QScrollArea

from headless_slicer import bootstrap
from module_driver import ROOT, SAMPLE, ModuleDriver
from reviewing import Reviewing
from sketch2ct.geometry import Plane
from sketch2ct.imaging import LabelVolume, read_labels
from sketch2ct.naming import names_beside
from sketch2ct.sketching import largest_section, sketch_of

FOLDER = ROOT / "Resources" / "Screenshots"
LIMIT = 2**20  # bytes, all pictures of the README together
_COLOURS = 256
_RARE = ((0, 110, 40), (170, 30, 30), (160, 90, 0))  # of words in the table of a cohort: a palette of what is common would lose them
COHORT_CASES = 20
# What the reviewer presses on each case, in turn; the last one stays on the screen, scored but not yet decided.
PRESSES = ("454A", "543A", "22X", "455A", "352E", "444A", "534A", "3X", "554A", "445A", "253E", "54K")
_VARIED = {"volume": [0.75, 1.25], "elongation": [0.9, 1.1], "hand": [0.5, 2.0], "shift_mm": 4, "rotate_deg": 6, "wording": True}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=FOLDER)
    parser.add_argument("--cohort", type=Path, help="a cohort with CTs to review, instead of one made now")
    parser.add_argument("--only", choices=("generation", "review"), help="take these pictures alone")
    arguments = parser.parse_args()
    out, only = arguments.out, arguments.only
    with tempfile.TemporaryDirectory() as name:
        cohort = copied(arguments.cohort, Path(name)) if arguments.cohort else made(Path(name)) if only != "generation" else None
        app = bootstrap(Path(name), qt=True)
        from headless_slicer.desktop import Desktop

        desktop = Desktop(app)
        module = ModuleDriver(desktop, Path(name) / "results")
        module.wait(lambda: module.panel.environment.isReady)
        if only != "review":
            guide = read_guide()
            before_and_after(module, guide, out)
            two_sketches(module, guide, out)
        if cohort is not None and only != "generation":
            cohort_under_review(module, cohort, out)
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


def cohort_under_review(module: ModuleDriver, cohort: Path, out: Path) -> None:
    """Mandibles of one request, some accepted, rejected, or to be edited, some scored."""
    slicer.mrmlScene.Clear(0)
    ui = module.ui
    for section in (ui.drawSection, ui.describeSection, ui.generateSection, ui.resultSection, ui.advancedSection, ui.environmentSection):
        section.collapsed = True
    review = Reviewing(module, cohort)
    for presses in PRESSES[-len(review.panel.session.names) :]:
        review.press(*presses)
    session, viewer = review.panel.session, review.panel.viewer
    module.wait(lambda: session.readSome(0) and not viewer.tend())
    structure = viewer.images.sketches[0].structure
    module.wait(lambda: viewer.segmentation.GetClosedSurfaceInternalRepresentation(structure) is not None)
    module.desktop.window.findChild(QScrollArea).verticalScrollBar().setValue(ui.cohortSection.y)
    module.desktop.wait(lambda: False, 0.5)
    shoot(module, out / "module-cohort.png")


def made(folder: Path) -> Path:
    """A cohort of variations of the shipped sample, made by the command line."""
    spec, out = folder / "mandibles.json", folder / "mandibles"  # JSON is YAML, too
    spec.write_text(json.dumps({"request": str(SAMPLE), "count": COHORT_CASES, "vary": _VARIED}))
    subprocess.run([sys.executable, "-m", "sketch2ct", "cohort", str(spec), "--out", str(out)], check=True)
    return out


def copied(cohort: Path, folder: Path) -> Path:
    """A cohort as it was before anybody reviewed it."""
    shutil.copytree(cohort, folder / cohort.name, ignore=shutil.ignore_patterns("reviews.sqlite*", "edits", ".lock"))
    return folder / cohort.name


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
    common = picture.quantize(_COLOURS - len(_RARE), method=Image.Quantize.MEDIANCUT).getpalette()
    assert common is not None
    palette = Image.new("P", (1, 1))
    palette.putpalette([*common[: 3 * (_COLOURS - len(_RARE))], *(part for colour in _RARE for part in colour)])
    picture.quantize(palette=palette, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    main()
