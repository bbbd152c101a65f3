"""The section "Advanced": bundle, generators, device, folder for results, and the backend's log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ctk
import qt
import slicer
from slicer.i18n import tr as _

from .BundleList import bundleNames, generators
from .ComboBinding import ComboBinding

_FOLDER_SETTING = "Sketch2CT/resultsFolder"
_LOG_BLOCKS = 2000


class AdvancedPanel:
    """Ties the widgets of the section to the parameter node and to the application's settings."""

    def __init__(self, ui: Any, generation: Any, bundleChanged: Any) -> None:
        self._ui, self._bundleChanged = ui, bundleChanged
        self._parameters: Any = None
        self._bundle = ComboBinding(ui.bundleSelector, "bundle", [], self._onBundle)
        self._mask = ComboBinding(ui.maskSelector, "maskGenerator", [])
        self._volume = ComboBinding(ui.volumeSelector, "volumeGenerator", [])
        self._device = ComboBinding(ui.deviceSelector, "device", [(_("Automatic"), "auto"), (_("CPU"), "cpu")])
        ui.resultsPath.filters = ctk.ctkPathLineEdit.Dirs | ctk.ctkPathLineEdit.Writable
        ui.resultsPath.setCurrentPath(qt.QSettings().value(_FOLDER_SETTING, "") or "")
        ui.resultsPath.connect("currentPathChanged(QString)", lambda path: qt.QSettings().setValue(_FOLDER_SETTING, path))
        ui.logEdit.setMaximumBlockCount(_LOG_BLOCKS)
        generation.backend.log.connect(self._onLog)
        generation.backend.ready.connect(lambda info: self.setDevices(info.get("devices", [])))

    def setParameters(self, parameters: Any) -> None:
        """Bind to another parameter node, or to None."""
        self._parameters = parameters
        if parameters is not None:
            self._bundle.setChoices([(name, name) for name in bundleNames()])
            self._offerGenerators()
        for binding in (self._bundle, self._mask, self._volume, self._device):
            binding.setParameters(parameters)

    def update(self) -> None:
        """Show the parameters as they are."""
        for binding in (self._bundle, self._mask, self._volume, self._device):
            binding.update()

    def setDevices(self, devices: list[dict[str, Any]]) -> None:
        """Offer the devices that the backend found: a list of `name`, `label`, `free_mb`, `total_mb`."""
        choices = [(_("Automatic"), "auto")]
        for device in devices:
            free = device.get("free_mb")
            memory = "" if free is None else _(", {gb:.1f} GB free").format(gb=free / 1024)
            choices.append((f"{device['label']}{memory}", device["name"]))
        self._device.setChoices(choices)

    def resultsFolder(self) -> Path:
        """The folder for result files: the user's, else one in the temporary folder."""
        chosen = self._ui.resultsPath.currentPath.strip()
        return Path(chosen).expanduser() if chosen else Path(slicer.app.temporaryPath) / "Sketch2CT"

    def _offerGenerators(self) -> None:
        masks, volumes = generators(self._parameters.bundle)
        self._mask.setChoices([(name, name) for name in masks])
        self._volume.setChoices([(name, name) for name in volumes])

    def _onBundle(self) -> None:
        self._offerGenerators()
        self._bundleChanged()

    def _onLog(self, text: str) -> None:
        self._ui.logEdit.appendPlainText(text.rstrip("\n"))
