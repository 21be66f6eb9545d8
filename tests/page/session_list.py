"""What tests of the list of sessions look at, by the names that people see."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Locator, Page, Route, expect

from tests.page.api import Api

Login = Callable[[Page], None]


def sidebar(page: Page) -> Locator:
    return page.get_by_role("navigation", name="Sessions")


def listed(page: Page) -> Locator:
    """The links of the list, the newest first."""
    return page.get_by_role("list", name="All sessions").get_by_role("link")


def found(page: Page) -> Locator:
    return page.get_by_role("list", name="Sessions found").get_by_role("listitem")


def row(page: Page, title: str) -> Locator:
    return sidebar(page).get_by_role("link", name=title)


def search_field(page: Page) -> Locator:
    return page.get_by_role("searchbox", name="Search the sessions")


def editor(page: Page) -> Locator:
    return sidebar(page).get_by_role("textbox", name="Title")


def titles(api: Api) -> list[str | None]:
    return [session["title"] for session in api.sessions()]


def pages(urls: list[str]) -> list[str]:
    """Those of requests that read a page of the list."""
    return [url for url in urls if "/api/sessions?" in url]


def fail(route: Route) -> None:
    route.fulfill(status=503, json={"error": "database_busy"})


def scroll_to(page: Page, title: str) -> None:
    """Scroll the list down, which the mouse is on, until a session is there: more of it is loaded meanwhile."""
    wanted = row(page, title)
    for _ in range(600):
        page.mouse.wheel(0, 1_000)
        page.wait_for_timeout(50)
        if wanted.count():
            break
    expect(wanted).to_be_in_viewport()
