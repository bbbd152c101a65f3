"""Goes the way that docs/cohort.md describes, and writes what the commands print into it: `make walk`.

The document is the script. In order:

    ```yaml   below a line that ends in "`NAME`:": written to the file NAME
    ```keys   pressed in the module, on slicer-core and the stand-in desktop: a word a case, a letter or digit a key
    ```       whose first line begins with "$ ": every such line is run, and what it prints takes the place of what stands below it

A command fails, with status 2, exactly where the document has an "error:"; else the walk ends there, and the document stays as it was.
Progress bars are left out, and long outputs cut in the middle. Commands run in an empty folder that the output calls ".".
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from headless_slicer import bootstrap
from module_driver import ROOT, SAMPLE, ModuleDriver
from nnunet_check import nnunet_command
from reviewing import Reviewing

DOCUMENT = ROOT / "docs" / "cohort.md"
COHORT, REVIEWER = "cohort", "AB"
_BLOCK = re.compile(r"^```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_NAME = re.compile(r"`([\w.]+)`:\s*$")
_PROGRESS = re.compile(r"^\s*\d+%|\d+%\|")
_MOST_LINES, _FIRST, _LAST = 7, 2, 4
_WIDTH = 140  # of the document
_OF_COMMANDS = {"COLUMNS": str(_WIDTH), "NO_COLOR": "1", "nnUNet_n_proc_DA": "1"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--document", type=Path, default=DOCUMENT, help="read from and written to")
    parser.add_argument("--cases", type=int, help="so many instead of what the document says, for a try")
    arguments = parser.parse_args()
    nnunet_command()  # says now how to get it
    with tempfile.TemporaryDirectory() as name:
        walk = Walk(Path(name).resolve(), arguments.cases)
        text = _BLOCK.sub(walk.block, arguments.document.read_text(encoding="utf-8"))
    arguments.document.write_text(text, encoding="utf-8")


class Walk:
    """The blocks of the document, one after the other, in `folder`."""

    def __init__(self, folder: Path, cases: int | None) -> None:
        self._work, self._slicer, self._cases = folder / "work", folder / "slicer", cases
        self._exports: list[str] = []
        for made in (self._work, self._slicer):
            made.mkdir()
        shutil.copy(SAMPLE, self._work)

    def block(self, found: re.Match[str]) -> str:
        """Do what a block asks for; the block with its new output."""
        kind, text = found["kind"], found["text"]
        if kind == "yaml":
            name = _NAME.search(found.string[: found.start()].rstrip("\n"))
            assert name is not None, f"The block does not say which file it is:\n{text}"
            self._write(name[1], text)
        elif kind == "keys":
            self._review(text.split())
        elif text.startswith("$ "):
            return f"```{kind}\n{self._commands(text)}```"
        return found[0]

    def _write(self, name: str, text: str) -> None:
        if self._cases is not None:
            text = yaml.safe_dump({**yaml.safe_load(text), "count": self._cases})
        (self._work / name).write_text(text, encoding="utf-8")

    def _commands(self, text: str) -> str:
        lines: list[str] = []
        for part in re.split(r"^(?=\$ )", text, flags=re.MULTILINE)[1:]:
            command, _newline, before = part.partition("\n")
            lines += [command, *self._run(command.removeprefix("$ "), 2 if before.startswith("error:") else 0)]
        return "".join(f"{line.rstrip()}\n" for line in lines)

    def _run(self, command: str, expected: int) -> list[str]:
        if command.startswith("export "):
            self._exports.append(command)
            return []
        print(f"$ {command}", file=sys.stderr, flush=True)
        paths = [str(Path(sys.executable).parent), str(nnunet_command().parent), os.environ.get("PATH", "")]
        env = {**os.environ, **_OF_COMMANDS, "PATH": os.pathsep.join(paths)}
        env.pop("PYTHONPATH", None)
        shell = ["bash", "-c", "\n".join([*self._exports, command])]
        done = subprocess.run(shell, cwd=self._work, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        output = done.stdout.replace(str(self._work), ".")
        assert done.returncode == expected, f"status {done.returncode} instead of {expected}:\n{output}"
        for place in (ROOT, Path(sys.prefix), Path.home()):
            assert f"{place}/" not in output, f"The output names {place}:\n{output}"
        return _shortened(output)

    def _review(self, words: list[str]) -> None:
        """Open the cohort in the module and press the keys of each case."""
        app = bootstrap(self._slicer, qt=True)
        from headless_slicer.desktop import Desktop
        from Sketch2CTModuleLib.EnvironmentCheck import EnvironmentCheck

        EnvironmentCheck.run = lambda self: None  # the backend is of no use here
        desktop = Desktop(app)
        review = Reviewing(ModuleDriver(desktop, self._slicer / "results"), self._work / COHORT, REVIEWER)
        for word in words[: len(review.panel.session.names)]:
            review.press(*word)
        desktop.close()
        app.close()


def _shortened(output: str) -> list[str]:
    """The lines, wrapped; of many the first and last."""
    lines = [line for line in output.splitlines() if line.strip() and not _PROGRESS.search(line)]
    if len(lines) > _MOST_LINES:
        lines = [*lines[:_FIRST], "...", *lines[-_LAST:]]
    return [part for line in lines for part in _wrapped(line)]


def _wrapped(line: str) -> list[str]:
    parts = []
    while len(line) > _WIDTH:
        end = line.rfind(" ", 0, _WIDTH + 1)
        end = end if end > 0 else _WIDTH
        parts.append(line[:end])
        line = line[end:].lstrip()
    return [*parts, line]


if __name__ == "__main__":
    main()
