"""What runs in Slicer's process must do without the packages that Slicer does not bring."""

import subprocess
import sys
from pathlib import Path

MODULE = Path(__file__).resolve().parents[2] / "Sketch2CTModule"
ABSENT = ("torch", "monai", "skimage", "nibabel", "nrrd", "transformers", "safetensors", "typer", "rich", "yaml", "matplotlib", "einops")

PROGRAM = """
import importlib, sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {absent}:
            raise ImportError(f"{{name}} is not part of Slicer")
sys.meta_path.insert(0, Refuse())
sys.path[:0] = [{module!r}, {support!r}]
import tempfile, pathlib
from headless_slicer import bootstrap
app = bootstrap(pathlib.Path(tempfile.mkdtemp()), qt=True)
for path in sorted(pathlib.Path({module!r}, "Sketch2CTModuleLib").glob("[A-Z]*.py")):
    importlib.import_module("Sketch2CTModuleLib." + path.stem)
importlib.import_module("Sketch2CTModule")
print(sorted(name for name in {absent} if name in sys.modules))
app.close()
"""


def test_every_file_of_the_module_is_imported_without_them():
    support = Path(__file__).resolve().parents[1] / "support"
    program = PROGRAM.format(absent=ABSENT, module=str(MODULE), support=str(support))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == "[]"
