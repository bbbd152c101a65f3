"""What 3D Slicer's own process imports must not bring torch along."""

import subprocess
import sys

import pytest

LIGHT = (
    *("errors", "resources", "geometry", "anatomy", "imaging", "request", "describe", "sketching", "naming", "framing"),
    *("quality", "results", "drafting", "intake", "installing", "bundle", "generation", "preview", "console", "cli"),
    *("pairing", "provenance", "doctor", "modality", "disk", "cli_cohort", "cli_export", "cli_review"),
    *("cohort.folder", "cohort.gates", "cohort.spec", "cohort.plan", "cohort.thumb", "cohort.start"),
    *(
        "describe.region",
        "data.regions",
        "masks.region_prior",
        "masks.region_shapes",
        "masks.region_aims",
        "masks.region_law",
        "evaluation.region_validity",
    ),
    *("review.store", "review.agreement", "review.blind", "review.blind_result", "export.run", "export.dicom", "export.data_card"),
)


def imported_by(lines):
    program = f"{lines}\nimport sys; print([m for m in sys.modules if m.split('.')[0] in ('torch', 'monai', 'slicer', 'vtk')])"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()


def test_the_light_modules_leave_torch_alone():
    assert imported_by("\n".join(f"import sketch2ct.{name}" for name in LIGHT)) == "[]"


@pytest.mark.parametrize(
    "arguments", [["--help"], ["generate", "--help"], ["sketch", "none.nii.gz", "--structure", "mandible", "--out", "x"]]
)
def test_the_light_commands_leave_torch_alone(arguments):
    lines = f"import contextlib, io\nfrom sketch2ct.cli import main\nwith contextlib.redirect_stdout(io.StringIO()):\n    main({arguments})"
    assert imported_by(lines) == "[]"
