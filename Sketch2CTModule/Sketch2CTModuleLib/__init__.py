"""What the Sketch2CT module is made of, one class a file. Runs in Slicer's process.

Rules: nothing here, nor anything imported from here, imports torch or another package that Slicer does not bring; the
backend's torch-free modules (`sketch2ct.request`, `.geometry`, `.anatomy`, ...) may be imported.
"""

from .Paths import addBackendToPath

addBackendToPath()
