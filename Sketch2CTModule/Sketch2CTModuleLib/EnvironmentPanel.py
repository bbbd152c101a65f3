"""The section "Environment": what the backend needs, what was found, and installing what is missing on a click."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ctk
import qt
import slicer
from slicer.i18n import tr as _

from .BackendPython import BackendPython
from .EnvironmentCheck import EnvironmentCheck
from .Installer import Installer
from .Signal import Signal

_WHEELS_SETTING = "Sketch2CT/wheels"
_DEVICE = "device "  # how the findings about devices begin


class EnvironmentPanel:
    """Ties the widgets of the section to the check and the installer.

    `devicesFound` gives what the check found to compute on, as `AdvancedPanel.setDevices` takes it. `backendMustStop` is
    emitted before files are replaced that a running backend uses, and when another Python is chosen.
    """

    def __init__(self, ui: Any, check: Any = None, installer: Any = None) -> None:
        self._ui = ui
        self.backendMustStop, self.devicesFound = Signal(), Signal()
        self._check = check or EnvironmentCheck()
        self._installer = installer or Installer(self._check)
        self._log: list[str] = []
        table = ui.environmentTable
        table.verticalHeader().setVisible(False)
        header = table.horizontalHeader()
        header.setSectionResizeMode(0, qt.QHeaderView.ResizeToContents)
        header.setSectionResizeMode(1, qt.QHeaderView.ResizeToContents)
        header.setSectionResizeMode(2, qt.QHeaderView.Stretch)
        ui.wheelsPath.filters = ctk.ctkPathLineEdit.Dirs | ctk.ctkPathLineEdit.Readable
        ui.pythonPath.filters = ctk.ctkPathLineEdit.Files | ctk.ctkPathLineEdit.Readable
        ui.wheelsPath.setCurrentPath(qt.QSettings().value(_WHEELS_SETTING, "") or "")
        ui.pythonPath.setCurrentPath(BackendPython.chosen())
        ui.wheelsPath.connect("currentPathChanged(QString)", lambda path: qt.QSettings().setValue(_WHEELS_SETTING, path))
        ui.pythonPath.connect("currentPathChanged(QString)", self._onPython)
        ui.checkButton.connect("clicked()", self._onCheck)
        ui.installButton.connect("clicked()", self._onInstall)
        ui.copyButton.connect("clicked()", self._onCopy)
        ui.installProgress.visible = False
        self._check.finished.connect(self._onFindings)
        self._installer.planned.connect(self._onPlan)
        self._installer.started.connect(self.backendMustStop.emit)
        self._installer.progress.connect(self._onProgress)
        self._installer.log.connect(self._log.append)
        self._installer.finished.connect(self._onInstalled)

    @property
    def isReady(self) -> bool:
        """Whether the last look found everything."""
        return self._check.isReady

    def checkOnce(self) -> None:
        """Look when nothing is known yet. The look runs in another process."""
        if not self._check.findings and not self._check.isRunning:
            self._onCheck()

    def close(self) -> None:
        """Stop what runs."""
        for signal in (self._check.finished, self._installer.planned, self._installer.finished, self._installer.progress):
            signal.disconnectAll()
        self._check.cancel()
        self._installer.cancel()

    def _onCheck(self) -> None:
        self._ui.environmentLabel.text = _("Looking for what the backend needs...")
        self._ui.checkButton.enabled = False
        self._check.run()

    def _onFindings(self, findings: list[Any]) -> None:
        table = self._ui.environmentTable
        table.setRowCount(len(findings))
        for row, finding in enumerate(sorted(findings, key=lambda item: item.ok)):
            for column, text in enumerate(("\u2713" if finding.ok else "\u2717", finding.name, finding.detail)):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(text)
                if not finding.ok:
                    item.setForeground(qt.QBrush(qt.QColor(180, 30, 30)))
                table.setItem(row, column, item)
        problems = [finding.name for finding in self._check.problems()]
        ready = self._check.isReady
        self._ui.environmentLabel.text = (
            _("Everything is here.") if not problems else _("Missing or damaged: {names}.").format(names=", ".join(problems))
        )
        if not ready:
            self._ui.environmentSection.collapsed = False
        self._ui.checkButton.enabled = True
        self._ui.installButton.enabled = self._installer.state == "idle"
        devices = [{"name": item.name.removeprefix(_DEVICE), "label": item.detail} for item in findings if item.name.startswith(_DEVICE)]
        if devices:
            self.devicesFound.emit(devices)

    def _onPython(self, path: str) -> None:
        path = path.strip()
        if path and not Path(path).is_file():  # the widget tells of every letter that is typed
            self._ui.environmentLabel.text = _("There is no file {path}; the Python stays as it was.").format(path=path)
            return
        BackendPython.choose(path)
        self.backendMustStop.emit()
        self._check.cancel()
        self._onCheck()

    def _onInstall(self) -> None:
        if self._installer.state == "installing":
            self._installer.cancel()
            return
        folder = self._ui.wheelsPath.currentPath.strip()
        self._ui.installButton.enabled = False
        self._ui.environmentLabel.text = _("Looking at what is installed...")
        self._installer.plan(Path(folder) if folder else None)

    def _onPlan(self, plan: Any) -> None:
        self._ui.installButton.enabled = True
        self._ui.environmentLabel.text = plan.summary().splitlines()[0]
        if plan.problem:
            slicer.util.errorDisplay(plan.summary(), windowTitle=_("Sketch2CT"))
        elif not plan.isNeeded:
            slicer.util.infoDisplay(plan.summary(), windowTitle=_("Sketch2CT"))
        elif slicer.util.confirmOkCancelDisplay(plan.summary(), windowTitle=_("Install for Sketch2CT")):
            self._log.clear()
            self._ui.installProgress.visible = True
            self._ui.installButton.text = _("Cancel")
            self._ui.pythonPath.enabled = False
            self._installer.install(plan)

    def _onProgress(self, text: str, fraction: float) -> None:
        self._ui.installProgress.value = round(1000 * fraction)
        self._ui.environmentLabel.text = text

    def _onInstalled(self, result: Any) -> None:
        self._ui.installProgress.visible = False
        self._ui.installButton.text = _("Install...")
        self._ui.pythonPath.enabled = True
        self._ui.installButton.enabled = True
        self._ui.environmentLabel.text = result.message
        if not result.ok:
            log = "".join(self._log)[-20000:]
            slicer.util.errorDisplay(f"{result.message}\n\n{result.hint}".strip(), windowTitle=_("Sketch2CT"), detailedText=log)

    def _onCopy(self) -> None:
        slicer.app.clipboard().setText(self._check.diagnostics())
        self._ui.environmentLabel.text = _("The diagnostics are on the clipboard.")
