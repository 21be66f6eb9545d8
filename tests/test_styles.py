"""The stylesheets: each class of a feature is styled in one of them, so that none changes another's by accident."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

from tests.helpers.process import ROOT

STYLES = ROOT / "static" / "styles"
SHARED = {"app"}  # the frame, which says what is on it
COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
LEADING_CLASS = re.compile(r"(?:^|[,{}])\s*\.([\w-]+)(?=[^{}]*\{)")


def leading_classes(stylesheet: Path) -> set[str]:
    """Return the classes that a selector of a stylesheet begins with."""
    return set(LEADING_CLASS.findall(COMMENT.sub("", stylesheet.read_text())))


def test_each_class_has_one_stylesheet() -> None:
    stylesheets = defaultdict(set)
    for stylesheet in STYLES.glob("*.css"):
        for name in leading_classes(stylesheet) - SHARED:
            stylesheets[name].add(stylesheet.name)
    assert len(stylesheets) > 100
    assert {name: files for name, files in stylesheets.items() if len(files) > 1} == {}
