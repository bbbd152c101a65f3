"""The order of the test files when several processes share them."""

from __future__ import annotations

import pytest

# The files of more than about 15 s, the longest first. The order is worth time alone: begun last, one of these would keep a
# process busy when the others have nothing left to do.
LONGEST = (
    "test_module.py",
    "test_cohort_make.py",
    "test_cohort_review.py",
    "test_evaluate.py",
    "test_cohort_ray.py",
    "test_backend_process.py",
    "test_published_recipes.py",
    "test_worker.py",
    "test_shipped.py",
    "test_export_nnunet.py",
    "test_ct_kit.py",
    "test_cohort_kill.py",
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):  # one of several processes, by pytest-xdist
        items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))
