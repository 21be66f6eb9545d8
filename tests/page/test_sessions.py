"""The list of sessions: what a person sees in it, in one tab and in several, and how it looks."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

import pytest
from playwright.sync_api import BrowserContext, Page, Route, expect

from tests.helpers.client import message
from tests.page.accessibility import assert_accessible
from tests.page.api import Api
from tests.page.problems import Problems
from tests.page.session_list import Login, editor, fail, listed, pages, row, scroll_to, sidebar


def test_session_that_was_imported_without_a_title_is_seen(page: Page, api: Api, login: Login) -> None:
    api.imported(message("hello"), title="")
    login(page)
    expect(listed(page)).to_contain_text("Untitled session")
    row(page, "Untitled session").click()
    expect(page.get_by_role("heading", name="Untitled session")).to_be_visible()


def test_list_has_the_newest_first_under_their_days(page: Page, api: Api, login: Login) -> None:
    api.session("older")
    api.session()
    api.session("newer")
    login(page)
    expect(listed(page)).to_have_text([re.compile("newer"), re.compile("Untitled session"), re.compile("older")])
    expect(sidebar(page).get_by_role("heading")).to_have_text("Today")
    api.patch(f"/api/sessions/{api.sessions()[2]['id']}", {"title": "renamed"})
    page.reload()
    expect(listed(page).first).to_contain_text("renamed")


def test_days_are_yesterday_weekdays_and_dates(page: Page, api: Api, login: Login) -> None:
    api.session("long ago")
    login(page)
    heading = sidebar(page).get_by_role("heading")
    created = datetime.now()
    for days, expected in ((1, "Yesterday"), (3, f"{created:%A}"), (30, f"{created:%Y}")):
        page.clock.set_system_time(created + timedelta(days=days))
        page.reload()
        expect(heading).to_contain_text(expected)


def test_list_of_nobody_says_so(page: Page, login: Login) -> None:
    login(page)
    expect(sidebar(page)).to_contain_text("There is no session yet.")


def test_list_that_cannot_be_loaded_can_be_tried_again(page: Page, api: Api, login: Login, problems: Problems) -> None:
    problems.allow_status(503)
    api.session("there")
    page.route("**/api/sessions?*", fail, times=1)
    login(page)
    expect(sidebar(page).get_by_role("alert")).to_contain_text("The database is busy")
    sidebar(page).get_by_role("button", name="Try again").click()
    expect(row(page, "there")).to_be_visible()


def test_open_session_is_marked(page: Page, api: Api, login: Login) -> None:
    api.session("first")
    api.session("second")
    login(page)
    row(page, "first").click()
    expect(row(page, "first")).to_have_attribute("aria-current", "page")
    expect(row(page, "second")).to_have_attribute("aria-current", "false")
    expect(page).to_have_title(re.compile("first"))


def test_list_is_loaded_page_by_page_and_only_what_is_seen_is_in_the_document(
    page: Page, api: Api, login: Login
) -> None:
    for number in range(230):
        api.session(f"session {number:03}")
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    login(page)
    expect(row(page, "session 229")).to_be_visible()
    assert len(pages(requests)) == 1
    listed(page).first.hover()
    scroll_to(page, "session 000")
    assert len(pages(requests)) == 3
    assert listed(page).count() < 60
    item = page.get_by_role("list", name="All sessions").get_by_role("listitem").filter(has_text="session 000")
    expect(item).to_have_attribute("aria-posinset", "230")
    expect(item).to_have_attribute("aria-setsize", "230")


def test_page_of_the_list_that_failed_is_loaded_when_one_asks(
    page: Page, api: Api, login: Login, problems: Problems
) -> None:
    problems.allow_status(503)
    for number in range(120):
        api.session(f"session {number:03}")
    page.route("**/api/sessions?*cursor*", fail, times=1)
    login(page)
    listed(page).first.hover()
    page.mouse.wheel(0, 10_000)
    expect(sidebar(page)).to_contain_text("The rest could not be loaded.")
    sidebar(page).get_by_role("button", name="Try again").click()
    scroll_to(page, "session 000")


def test_new_session_opens_and_one_can_write(page: Page, api: Api, login: Login) -> None:
    login(page)
    page.get_by_role("button", name="New session").click()
    expect(listed(page)).to_have_attribute("aria-current", "page")
    expect(page.locator("[data-composer]")).to_be_focused()
    [session] = api.sessions()
    expect(page).to_have_url(re.compile(f"#/s/{session['id']}$"))


def test_new_session_whose_answer_was_lost_is_not_created_twice(
    page: Page, api: Api, login: Login, problems: Problems
) -> None:
    problems.allow_failed_connections()

    def lose_answer(route: Route) -> None:
        route.fetch()
        route.abort()

    login(page)
    page.route("**/api/sessions", lose_answer, times=1)
    page.get_by_role("button", name="New session").click()
    page.get_by_role("button", name="Try again").click()
    expect(listed(page)).to_have_count(1)
    assert len(api.sessions()) == 1


def test_tabs_stay_in_step(page: Page, context: BrowserContext, api: Api, login: Login) -> None:
    for title in ("one", "two"):
        api.session(title)
    login(page)
    tab = context.new_page()
    tab.goto("./")
    expect(row(tab, "one")).to_be_visible()
    row(page, "one").focus()
    page.keyboard.press("F2")
    editor(page).fill("renamed")
    editor(page).press("Enter")
    expect(listed(tab)).to_have_text([re.compile("renamed"), re.compile("two")])
    page.get_by_role("button", name="New session").click()
    expect(listed(tab)).to_have_count(3)
    row(page, "two").hover()
    page.get_by_role("button", name="Delete: two").click()
    expect(row(page, "two")).to_have_count(0)
    page.goto("about:blank")
    expect(row(tab, "two")).to_have_count(0)


def test_list_that_one_has_scrolled_stays_when_another_tab_adds_and_deletes(
    page: Page, context: BrowserContext, api: Api, login: Login
) -> None:
    for number in range(150):
        api.session(f"session {number:03}")
    login(page)
    listed(page).first.hover()
    page.mouse.wheel(0, 1_500)
    seen = row(page, "session 100")
    expect(seen).to_be_in_viewport()
    place = seen.bounding_box()
    tab = context.new_page()
    tab.goto("./")
    tab.get_by_role("button", name="New session").click()
    expect(listed(tab).first).to_contain_text("Untitled session")
    for title in ("session 141", "session 140"):
        row(tab, title).focus()
        tab.keyboard.press("Delete")
    tab.close(run_before_unload=False)
    page.bring_to_front()
    expect(seen).to_be_in_viewport()
    assert seen.bounding_box() == place
    page.mouse.wheel(0, -3_000)
    expect(listed(page).first).to_contain_text("Untitled session")


def test_list_is_read_again_when_one_comes_back_to_the_tab(page: Page, api: Api, login: Login) -> None:
    api.session("one")
    login(page)
    expect(listed(page)).to_have_count(1)
    api.session("two")
    page.evaluate("() => window.dispatchEvent(new Event('focus'))")
    expect(listed(page)).to_have_count(2)


@pytest.mark.slow
def test_ten_thousand_sessions_scroll(page: Page, api: Api, login: Login) -> None:
    for number in range(10_000):
        api.session(f"session {number}")
    login(page)
    expect(row(page, "session 9999")).to_be_visible()
    listed(page).first.hover()
    most = 0
    for _ in range(3_000):
        page.mouse.wheel(0, 2_000)
        page.wait_for_timeout(20)
        most = max(most, page.get_by_role("list", name="All sessions").get_by_role("listitem").count())
        if row(page, "session 0").count():
            break
    expect(page.get_by_role("link", name=re.compile("^session 0 "))).to_be_in_viewport()
    assert most < 80


@pytest.mark.parametrize("width", [320, 1_280])
def test_list_is_accessible_and_fits(page: Page, api: Api, login: Login, width: int) -> None:
    api.session("a title that is longer than the list is wide, " * 2)
    api.session()
    page.set_viewport_size({"width": width, "height": 700})
    login(page)
    expect(listed(page)).to_have_count(2)
    assert_accessible(page)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
