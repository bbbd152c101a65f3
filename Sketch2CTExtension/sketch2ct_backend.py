"""Starts the backend by file path: `PYTHON sketch2ct_backend.py ARGUMENTS` is `sketch2ct ARGUMENTS`, nothing installed.

Where the command line itself cannot start because a package is missing, `doctor` still answers (as JSON), so that the
Slicer module can tell what to install.
"""

import sys
from pathlib import Path


def main() -> int:
    """Run the command line; the exit status."""
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    try:
        from sketch2ct.cli import main as command_line
    except ModuleNotFoundError as error:
        print(f"error: The package {error.name} is missing. Install what the backend needs.", file=sys.stderr)
        if sys.argv[1:2] != ["doctor"]:
            return 1
        from sketch2ct.doctor import as_json, examine

        print(as_json(examine()))
        return 1
    return command_line()


if __name__ == "__main__":
    sys.exit(main())
