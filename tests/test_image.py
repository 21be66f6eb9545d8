"""What goes into the container image."""

from __future__ import annotations

import os

from tests.helpers.image import image_patterns
from tests.helpers.process import ROOT

# A folder stands for all that is in it.
FILES = {"LICENSE", "openapi.json", "requirements.txt", "requirements-postgresql.txt", "static"}
NOT_SHIPPED = {"benchmarks", "examples", "scripts", "tests"}


def test_all_modules_and_nothing_else_are_shipped() -> None:
    modules = set()
    for folder, subfolders, files in os.walk(ROOT):
        is_root = folder == str(ROOT)
        subfolders[:] = [name for name in subfolders if name[0] not in "._" and not (is_root and name in NOT_SHIPPED)]
        if any(name.endswith(".py") for name in files):
            modules.add(os.path.relpath(os.path.join(folder, "*.py"), ROOT))
    assert image_patterns() == modules | FILES
