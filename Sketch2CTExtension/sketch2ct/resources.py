"""Where the files that travel with the code lie: bundles, samples, anatomy, icons.

They are not inside the package, because Slicer wants them beside its module: from source they lie two folders up,
installed into Slicer they lie beside the backend folder. Both are "a `Resources` folder beside a parent of this file".
"""

from __future__ import annotations

import os
from pathlib import Path

ENVIRONMENT_VARIABLE = "SKETCH2CT_RESOURCES"
_OURS = "Anatomy"  # tells our folder from another one of that common name, such as a macOS application's own


def resources_dir() -> Path:
    """The `Resources` folder: the one the environment names, else the nearest one beside a parent of the package."""
    named = os.environ.get(ENVIRONMENT_VARIABLE)
    if named:
        folder = Path(named).expanduser()
        if not folder.is_dir():
            raise FileNotFoundError(f"{ENVIRONMENT_VARIABLE} names {folder}, which is no folder; correct or unset it.")
        return folder.resolve()
    package = Path(__file__).resolve().parent
    for parent in package.parents:
        if (parent / "Resources" / _OURS).is_dir():
            return parent / "Resources"
    raise FileNotFoundError(
        f"No Resources folder (with {_OURS} inside) beside any parent of {package}. Run from a source checkout or an "
        f"installed extension, or set {ENVIRONMENT_VARIABLE} to the folder."
    )
