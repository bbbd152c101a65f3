"""How far pip is, from the lines it prints."""

from __future__ import annotations

import re

_FILE = re.compile(r"^\s*(?:Downloading|Using cached) (?:\S*/)?(\S+?)(?:\.metadata)?(?: \(([\d.]+) (bytes|[kMG]B)\))?\s*$")
_BYTES = re.compile(r"^Progress (\d+) of (\d+)$")
_UNITS = {"bytes": 1e-6, "kB": 1e-3, "MB": 1.0, "GB": 1e3}
_DOWNLOAD_SHARE = 0.85  # the rest is for unpacking


class PipProgress:
    """Reads the output of one pip as it comes."""

    def __init__(self, downloadMb: float) -> None:
        self._expectedMb = max(downloadMb, 1.0)
        self._seenMb = 0.0  # of the files before this one
        self._file, self._fileMb = "", 0.0
        self._rest = ""
        self.text = ""
        self.fraction = 0.0

    def feed(self, output: str) -> bool:
        """Take the next piece of output, cut anywhere; true when `text` or `fraction` changed."""
        *lines, self._rest = (self._rest + output.replace("\r", "\n")).split("\n")
        before = (self.text, self.fraction)
        for line in lines:
            self._read(line)
        return (self.text, self.fraction) != before

    def _read(self, line: str) -> None:
        file, have = _FILE.match(line), _BYTES.match(line)
        if have:
            self._tellDownload(int(have.group(1)) / 1e6, int(have.group(2)) / 1e6)
        elif file:
            self._seenMb += self._fileMb
            self._file = _package(file.group(1))
            self._tellDownload(0.0, float(file.group(2) or 0) * _UNITS.get(file.group(3), 0))
        elif line.startswith("Collecting "):
            self.text = f"looking for {line.split()[1]}"
        elif line.lstrip().startswith(("Building", "Preparing metadata")):
            self.text = "preparing"
        elif line.startswith("Installing collected packages"):
            self.text, self.fraction = "unpacking", max(self.fraction, _DOWNLOAD_SHARE)
        elif line.startswith("Successfully installed"):
            self.text, self.fraction = "installed", 1.0

    def _tellDownload(self, haveMb: float, sizeMb: float) -> None:
        self._fileMb = sizeMb
        size = f" ({haveMb:.0f} of {sizeMb:.0f} MB)" if haveMb else f" ({sizeMb:.0f} MB)"
        self.text = f"downloading {self._file}" + (size if sizeMb >= 1 else "")
        self.fraction = max(self.fraction, _DOWNLOAD_SHARE * min((self._seenMb + haveMb) / self._expectedMb, 1.0))


def _package(file: str) -> str:
    return "-".join(file.split("-")[:2])
