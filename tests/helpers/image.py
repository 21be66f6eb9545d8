"""The files that .dockerignore lets into the image."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.helpers.process import ROOT


def image_patterns() -> set[str]:
    """Return the patterns of the files that go into the image; all others are ignored."""
    everything, *lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert everything == "*"
    assert all(line.startswith("!") for line in lines)
    return {line[1:] for line in lines}


def copy_image_files(target: Path) -> Path:
    """Copy what goes into the image to a folder, and return that."""
    for pattern in image_patterns():
        for source in ROOT.glob(pattern):
            path = target / source.relative_to(ROOT)
            path.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, path)
            else:
                shutil.copy(source, path)
    return target
