"""Runs nnU-Net's own integrity check and preprocessing on an exported data set.

nnU-Net lives in an environment of its own, whose bin folder the variable SKETCH2CT_NNUNET names: `make test` makes it and sets
the variable.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

VARIABLE = "SKETCH2CT_NNUNET"
COMMAND = "nnUNetv2_plan_and_preprocess"


def nnunet_command() -> Path:
    """nnU-Net's command. Fails with how to get it."""
    named = os.environ.get(VARIABLE, "")
    command = Path(named).expanduser() / COMMAND
    assert named and command.is_file(), (
        f"nnU-Net is not there ({VARIABLE}={named or 'not set'}). 'make nnunet' installs it beside the environment of the tests, and "
        f"'make test' does so by itself; then {VARIABLE} names its bin folder, for example .venv-nnunet/bin."
    )
    return command


def plan_and_preprocess(raw: Path, work: Path, number: int) -> str:
    """Check and preprocess data set `number` in the folder `raw`, in one process; what nnU-Net printed. Results go to `work`."""
    folders = {"nnUNet_raw": str(raw), "nnUNet_preprocessed": str(work / "preprocessed"), "nnUNet_results": str(work / "results")}
    line = [str(nnunet_command()), "-d", str(number), "--verify_dataset_integrity", "-np", "1", "-npfp", "1", "-c", "3d_fullres"]
    threads = {"OMP_NUM_THREADS": "1", "nnUNet_n_proc_DA": "1", "PYTHONPATH": ""}
    done = subprocess.run(line, capture_output=True, text=True, env={**os.environ, **folders, **threads}, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
