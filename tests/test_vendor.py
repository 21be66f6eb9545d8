"""The libraries of the page: what their packages have, and what the page needs, and nothing else."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from scripts.vendor import PACKAGES, VENDOR
from tests.helpers.process import ROOT

MANIFEST: list[dict[str, Any]] = json.loads((VENDOR / "manifest.json").read_text())
STATIC = ROOT / "static"
IMPORT = re.compile(r"""(?:\bfrom|\bimport)\s*\(?\s*["']([\w@./-]+)["']""")


def files_of(package: dict[str, Any]) -> dict[str, str]:
    folder = VENDOR / package["folder"]
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("package", MANIFEST, ids=lambda package: package["folder"])
def test_files_are_those_of_the_manifest(package: dict[str, Any]) -> None:
    assert files_of(package) == package["files"]


def test_manifest_has_the_packages_that_are_pinned() -> None:
    recorded = [(each["name"], each["version"], each["licence"], each["integrity"]) for each in MANIFEST]
    assert recorded == [(each.name, each.version, each.licence, each.integrity) for each in PACKAGES]
    assert [list(each["files"]) for each in MANIFEST] == [["LICENSE", *each.files] for each in PACKAGES]


def test_there_is_nothing_else() -> None:
    expected = {"manifest.json", "README.md", *(package["folder"] for package in MANIFEST)}
    assert {path.name for path in VENDOR.iterdir()} == expected


def imports() -> list[tuple[Path, str]]:
    """Return each module of the page with each path that it imports."""
    return [(path, imported) for path in STATIC.rglob("*.js") for imported in IMPORT.findall(path.read_text())]


def test_modules_import_files_of_the_page_by_relative_paths() -> None:
    """A bare name would need a build step or an import map, an absolute path the root of a host."""
    for path, imported in imports():
        assert imported.startswith(("./", "../")), f"{path.relative_to(STATIC)} imports {imported}"
        target = (path.parent / imported).resolve()
        assert target.is_file(), f"{path.relative_to(STATIC)} imports {imported}, which does not exist"
        assert target.is_relative_to(STATIC)


def test_imports_are_recognized() -> None:
    text = """import{a as b}from"./x.js"; import "y"; export * from '../z.js'; await import("w")"""
    assert IMPORT.findall(text) == ["./x.js", "y", "../z.js", "w"]
