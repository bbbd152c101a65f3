"""Slicer's own MRML, logic and view classes (package `slicer-core`) without the desktop, for tests.

`bootstrap(folder)` makes a scene and fills the globals that module code expects: `slicer.mrmlScene`, `slicer.app`,
`slicer.modules`. Real: nodes, storage, logics, displayable managers, views. Stand-ins: the application object, the
choice of a file's reader, and what Qt plugins do in the desktop (subject hierarchy items).
"""

from .bootstrap import HeadlessSlicer, bootstrap

__all__ = ["HeadlessSlicer", "bootstrap"]
