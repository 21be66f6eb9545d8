"""Asking and reading the answer while it is written."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.page.api import Api

SLOW = "\n".join(["say # Failover", "say ", "repeat 40 0.1 word ", "say the end"])


def test_main_job(page: Page, login: Callable[[Page], None], api: Api) -> None:
    """Log in, ask, see the answer stream, reload in the middle and find it all again."""
    login(page)
    page.get_by_label("Ask a question").fill(SLOW)
    page.get_by_role("button", name="Send").click()
    answer = page.get_by_role("article", name="Assistant")
    expect(answer).to_contain_text("word word word")
    page.screenshot(path="/tmp/conv/stream.png")
    page.reload()
    expect(answer).to_contain_text("word word word")
    expect(answer).to_contain_text("the end")
    page.screenshot(path="/tmp/conv/done.png")
