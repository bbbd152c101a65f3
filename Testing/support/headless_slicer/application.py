"""Stand-ins for the application's own objects: `slicer.app`, its module manager, and entries of `slicer.modules`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer

from .io import CoreIOManager


class Module:
    """What `slicer.modules.<name>` offers for a module of Slicer's own, which has a logic and no panel here."""

    def __init__(self, name: str, logic: Any = None) -> None:
        self.name, self.path = name, ""
        self._logic = logic

    def logic(self) -> Any:
        return self._logic

    def widgetRepresentation(self) -> None:
        return None


class Signals:
    """`connect("name(...)", f)` and `disconnect` for an object that is no QObject here; `emit` calls the listeners."""

    def __init__(self) -> None:
        self._listeners: list[tuple[str, Callable]] = []

    def connect(self, signal: str, listener: Callable) -> bool:
        self._listeners.append((signal.replace(" ", ""), listener))
        return True

    def disconnect(self, signal: str, listener: Callable) -> bool:
        entry = (signal.replace(" ", ""), listener)
        if entry not in self._listeners:
            return False
        self._listeners.remove(entry)
        return True

    def emit(self, signal: str, *values: Any) -> None:
        for name, listener in list(self._listeners):
            if name == signal and (name, listener) in self._listeners:  # one may have gone meanwhile
                listener(*values)


class ModuleManager(Signals):
    """Finds modules by name; emits "moduleAboutToBeUnloaded(QString)" when the application ends."""

    def module(self, name: str) -> Any:
        return getattr(slicer.modules, name.lower(), None)

    def modulesNames(self) -> list[str]:
        return [module.name for module in self._modules()]

    def loadedModulesNames(self) -> list[str]:
        return self.modulesNames()

    def factoryManager(self) -> ModuleManager:
        return self

    def loadedModuleNames(self) -> list[str]:
        return self.modulesNames()

    def _modules(self) -> list:
        return [module for name, module in vars(slicer.modules).items() if hasattr(module, "widgetRepresentation") and name.islower()]


class ExtensionsManager:
    """Which extensions are installed: those in `installed`, a test's to change."""

    def __init__(self) -> None:
        self.installed: set[str] = set()

    def isExtensionInstalled(self, name: str) -> bool:
        return name in self.installed

    installedExtensions = property(lambda self: tuple(sorted(self.installed)))


class Application(Signals):
    """What `slicer.app` offers, as far as `slicer.util` and scripted modules use it.

    With Qt, everything else that QApplication has is found here too (`clipboard`, `setOverrideCursor`, `style`, ...).
    `quits` counts the calls of `quit` and `exit`, `restarts` those of `restart`: nothing else happens then.
    """

    applicationName = "Slicer"
    applicationVersion = "5.13.0"
    majorVersion, minorVersion = 5, 13
    revision = "31053"
    os, arch, platform = "linux", "amd64", "linux-amd64"
    intDir = ""
    documentationBaseUrl = "https://slicer.readthedocs.io/en/latest/"
    organizationName, organizationDomain = "NA-MIC", "www.na-mic.org"

    def __init__(self, scene: Any, app_logic: Any, temporary_path: Path) -> None:
        super().__init__()
        self.temporaryPath = str(temporary_path)
        self.slicerHome = str(temporary_path / "slicer-home")
        self.extensionsInstallPath = str(temporary_path / "extensions")
        self.quits = self.restarts = 0
        self._scene, self._logic = scene, app_logic
        self._io = CoreIOManager(scene, app_logic, temporary_path)
        self._modules = ModuleManager()
        self._extensions = ExtensionsManager()
        self._layout: Any = None
        self._window: Any = None
        self._ended = False

    def mrmlScene(self) -> Any:
        return self._scene

    def applicationLogic(self) -> Any:
        return self._logic

    def coreIOManager(self) -> CoreIOManager:
        return self._io

    ioManager = coreIOManager

    def moduleManager(self) -> ModuleManager:
        return self._modules

    def extensionsManagerModel(self) -> ExtensionsManager:
        return self._extensions

    def layoutManager(self) -> Any:
        """None without a desktop."""
        return self._layout

    def mainWindow(self) -> Any:
        return self._window

    def show(self, layout: Any, window: Any) -> None:
        """Called by the desktop that starts (its layout manager and main window) or ends (None, None)."""
        self._layout, self._window = layout, window

    def testingEnabled(self) -> bool:
        """False, so that messages take their normal way; `dialogs` writes them down."""
        return False

    def translate(self, _context: str, text: str) -> str:
        return text

    def moduleDocumentationUrl(self, name: str) -> str:
        return f"{self.documentationBaseUrl}user_guide/modules/{name.lower()}.html"

    def processEvents(self, *_: Any) -> None:
        if "qt" in sys.modules:
            sys.modules["qt"].QApplication.processEvents()

    def settings(self) -> Any:
        """The user's settings: an .ini file in the temporary folder."""
        return sys.modules["qt"].QSettings()

    userSettings = revisionUserSettings = settings

    def startupEnvironment(self) -> Any:
        return sys.modules["qt"].QProcessEnvironment.systemEnvironment()

    def pauseRender(self) -> None:
        if self._layout is not None:
            self._layout.pauseRender()

    def resumeRender(self) -> None:
        if self._layout is not None:
            self._layout.resumeRender()

    def end(self) -> None:
        """Tell all who connected to "aboutToQuit()", once."""
        if not self._ended:
            self._ended = True
            self.emit("aboutToQuit()")

    def quit(self) -> None:
        self.quits += 1

    def exit(self, _status: int = 0) -> None:
        self.quits += 1

    def restart(self) -> None:
        self.restarts += 1

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or "qt" not in sys.modules:
            raise AttributeError(f"slicer.app has no {name} in the harness")
        return getattr(sys.modules["qt"].QApplication.instance(), name)
