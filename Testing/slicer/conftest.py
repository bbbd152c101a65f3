"""Fixtures of the tests that use Slicer's own classes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

# Before VTK is imported: draw through EGL, which needs no display.
os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from headless_slicer import HeadlessSlicer, bootstrap

if TYPE_CHECKING:
    from headless_slicer.desktop import Desktop


@pytest.fixture
def slicer_app(tmp_path: Path) -> Iterator[HeadlessSlicer]:
    """A fresh headless application whose temporary files end with the test."""
    folder = tmp_path / "slicer-temporary"
    folder.mkdir()
    app = bootstrap(folder)
    yield app
    app.close()


@pytest.fixture
def desktop(tmp_path: Path) -> Iterator[Desktop]:
    """A fresh application with main window, module panel, slice views and 3D view."""
    folder = tmp_path / "slicer-temporary"
    folder.mkdir()
    app = bootstrap(folder, qt=True)
    from headless_slicer.desktop import Desktop

    desktop = Desktop(app)
    yield desktop
    desktop.close()
    app.close()
