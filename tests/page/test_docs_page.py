"""The page of the API's description: it shows the API, and is used to try it, under its policy."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.helpers.openapi_checker import DOCUMENT
from tests.page.problems import Problems


def test_docs_page_shows_the_api_and_loads_nothing_from_elsewhere(page: Page) -> None:
    page.goto("docs")
    expect(page.get_by_text("/api/auth/login")).to_be_visible()
    summary = DOCUMENT["paths"]["/api/sessions/{session_id}/export"]["get"]["summary"]
    expect(page.get_by_text(summary)).to_be_visible()


def test_docs_page_calls_the_api(page: Page, problems: Problems) -> None:
    problems.allow_status(401)
    page.goto("docs")
    operation = page.locator("#operations-sessions-create_session")
    operation.click()
    operation.get_by_role("button", name="Try it out").click()
    operation.get_by_role("button", name="Execute").click()
    expect(operation.locator(".live-responses-table")).to_contain_text("missing_token")
