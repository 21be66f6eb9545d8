"""The page below a path, behind a reverse proxy."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, Request, expect

from tests.helpers.client import document, message
from tests.helpers.data_folder import DataFolder
from tests.helpers.process import PASSWORD, FakeLlm
from tests.page.reverse_proxy import PREFIX, ReverseProxy


@pytest.fixture
def proxied(browser: Browser, data_folder: DataFolder, fake_llm: FakeLlm) -> Iterator[Page]:
    """A page behind a proxy, which fails at its end if it has asked for anything outside of the proxy's path."""
    outside: list[str] = []

    def watch(request: Request) -> None:
        if urlsplit(request.url).scheme == "http" and not urlsplit(request.url).path.startswith(f"{PREFIX}/"):
            outside.append(request.url)

    with (
        data_folder.serve(TRUSTED_PROXIES=1, LLM_BASE_URL=fake_llm.url) as server,
        ReverseProxy(server.address) as proxy,
        browser.new_context(base_url=proxy.url) as context,
    ):
        context.on("request", watch)
        yield context.new_page()
    assert outside == []


def test_page_works_below_a_path(proxied: Page) -> None:
    proxied.goto("./")
    proxied.get_by_label("Username").fill("alice")
    proxied.get_by_label("Password").fill(PASSWORD)
    proxied.get_by_role("button", name="Log in").click()
    proxied.get_by_role("button", name="New session").click()
    expect(proxied).to_have_url(re.compile("#/s/"))
    proxied.get_by_role("textbox", name="Ask a question").fill("repeat 20 0.05 word")
    proxied.get_by_role("button", name="Send", exact=True).click()
    expect(proxied.get_by_role("button", name="Stop")).to_be_visible()  # the stream is not held back
    answer = proxied.get_by_role("article", name="Assistant")
    expect(answer).to_contain_text("word" * 20)
    proxied.reload()  # the cookie has the proxy's path
    expect(answer).to_contain_text("word" * 20)
    [cookie] = proxied.context.cookies()
    assert cookie["path"] == f"{PREFIX}/api/auth"

    proxied.goto("./#/transfer")
    exported = document(message("from elsewhere", role="assistant"), title="Imported below a path")
    proxied.get_by_test_id("files").set_input_files(
        {"name": "a.json", "mimeType": "application/json", "buffer": json.dumps(exported).encode()}
    )
    proxied.get_by_role("button", name="Import 1 conversation").click()
    expect(proxied.get_by_role("navigation", name="Sessions")).to_contain_text("Imported below a path")
    with proxied.expect_download():
        proxied.get_by_role("button", name="Export everything").click()

    proxied.goto("./#/account")
    proxied.get_by_role("button", name="Log out").click()
    expect(proxied.get_by_label("Username")).to_be_visible()
    assert proxied.context.cookies() == []
