"""What axe-core finds: of the rules of WCAG 2.2 AA, those that a program can check."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any, Literal

import pytest
from playwright.sync_api import Page

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


@cache
def axe() -> str:
    return (files("axe_playwright_python") / "axe.min.js").read_text()


def assert_accessible(page: Page) -> None:
    """Fail if axe-core finds a violation in what a page shows now, in light or in dark."""
    page.evaluate(axe())  # a script element would be blocked by the policy
    found = [describe(scheme, violation) for scheme in SCHEMES for violation in violations(page, scheme)]
    page.emulate_media(color_scheme=None, reduced_motion=None)
    if found:
        pytest.fail("\n".join(found), pytrace=False)


def violations(page: Page, scheme: Literal["light", "dark"]) -> list[dict[str, Any]]:
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # no colour is half way to another
    run = "async (tags) => (await axe.run(document, { runOnly: tags })).violations"
    found: list[dict[str, Any]] = page.evaluate(run, TAGS)
    return found


def describe(scheme: str, violation: dict[str, Any]) -> str:
    nodes = "\n".join(f"    {node['html'][:200]}\n      {node['failureSummary']}" for node in violation["nodes"])
    return f"{scheme}: {violation['id']}: {violation['help']}\n{nodes}"
