"""How the page loads: little, at once, from its own folder."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from typing import Any

from playwright.sync_api import CDPSession, Page, expect

from scripts.preload import INDEX, STATIC, imported_modules, with_list
from tests.helpers.waits import assert_below

Login = Callable[[Page], None]

MAX_FIRST_LOAD_BYTES = 250_000
MAX_FIRST_PAINT_MS = 5_000  # a shared machine; 0.2 s on an idle one


def loaded(session: CDPSession, load: Callable[[], Any]) -> dict[str, int]:
    """Load something and return the bytes of each response as they were sent, headers included, by path."""
    urls: dict[str, str] = {}
    sizes: dict[str, int] = {}
    session.on("Network.requestWillBeSent", lambda event: urls.update({event["requestId"]: event["request"]["url"]}))
    session.on(
        "Network.loadingFinished",
        lambda event: sizes.update({urls.get(event["requestId"], "?"): int(event["encodedDataLength"])}),
    )
    session.send("Network.enable")
    load()
    return sizes


def test_first_load_is_small(page: Page) -> None:
    def load() -> None:
        page.goto("./")
        expect(page.get_by_role("button", name="Log in")).to_be_visible()

    sizes = loaded(page.context.new_cdp_session(page), load)
    assert len(sizes) > len(imported_modules())
    assert sum(sizes.values()) < MAX_FIRST_LOAD_BYTES


def test_second_load_transfers_nothing_that_has_not_changed(page: Page, login: Login) -> None:
    login(page)

    def load() -> None:
        page.reload()
        expect(page.get_by_role("navigation", name="Sessions")).to_be_visible()

    sizes = loaded(page.context.new_cdp_session(page), load)
    assert max(size for url, size in sizes.items() if "/static/" in url) < 1_000


def test_first_paint_is_soon(page: Page) -> None:
    def last_paint() -> float:
        page.goto("./")
        expect(page.get_by_role("button", name="Log in")).to_be_visible()
        paints = page.evaluate(
            "() => performance.getEntriesByType('paint').map(({ name, startTime }) => [name, startTime])"
        )
        assert {name for name, _ in paints} >= {"first-contentful-paint"}
        return max(float(time) for _, time in paints)

    assert_below(MAX_FIRST_PAINT_MS, last_paint)


def test_every_module_is_preloaded() -> None:
    assert INDEX.read_text() == with_list(INDEX.read_text(), imported_modules()), "make preload"


def test_every_module_is_used() -> None:
    own = {str(path.relative_to(STATIC)) for path in STATIC.rglob("*.js") if "vendor" not in path.parts}
    assert own == {module for module in imported_modules() if not module.startswith("vendor/")} | {"app.js"}


def test_every_stylesheet_is_linked() -> None:
    linked = set(re.findall(r'rel="stylesheet" href="static/([^"]+)"', INDEX.read_text()))
    assert linked == {str(path.relative_to(STATIC)) for path in STATIC.rglob("*.css") if "vendor" not in path.parts}


def test_all_addresses_are_relative_and_in_the_folder() -> None:
    for link in re.findall(r'(?:href|src)="([^"]+)"', INDEX.read_text()):
        assert re.match(r"[a-z]", link), link
        assert "://" not in link, link
    for path in STATIC.rglob("*.css"):
        assert not re.search(r"url\(|@import", path.read_text()), path
    for path in (path for path in STATIC.rglob("*.js") if "vendor" not in path.parts):
        source = re.sub(r"(?m)//.*$|/\*[\s\S]*?\*/", "", path.read_text())
        assert not re.search(r"""["'`](?:/api|/static|https?://\w)""", source), path


def test_page_has_no_inline_script_or_style() -> None:
    html = INDEX.read_text()
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", html)


def test_page_alone_is_small_when_compressed() -> None:
    assert len(gzip.compress(INDEX.read_bytes())) < 4_000
