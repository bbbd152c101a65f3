"""Sketch2CT: strokes and a sentence to a 3D segmentation mask, then to a CT volume.

Rules of the package: it never imports slicer, qt or vtk; the core (`request`, `geometry`, `anatomy`, `imaging`, `describe`,
`sketching`, `errors`, `resources`) never imports torch; millimetres and RAS (right, anterior, superior grow) everywhere;
arrays are `(i, j, k)`, tensors `(N, C, i, j, k)`.
"""

__version__ = "0.1.0"
PROTOCOL_VERSION = 1
REQUEST_VERSION = 1
