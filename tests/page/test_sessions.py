"""The list of sessions: what a person sees in it and does with it; then what the API says."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, Route, expect

from tests.helpers.client import message
from tests.page.accessibility import assert_accessible
from tests.page.api import Api
from tests.page.problems import Problems

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


# The list


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
    last = row(page, "session 000")
    for _ in range(30):
        page.mouse.wheel(0, 1_000)
        page.wait_for_timeout(50)
    expect(last).to_be_in_viewport()
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
    page.mouse.wheel(0, 10_000)
    expect(row(page, "session 000")).to_be_visible()


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


# Search


def test_search_shows_what_matches_as_one_types(page: Page, api: Api, login: Login) -> None:
    wanted = api.imported({"role": "assistant", "content": 'the payment queue is <stuck> & "slow" &lt;b&gt; it\'s'})
    api.session("something else")
    login(page)
    search_field(page).press_sequentially("stuck")
    expect(found(page)).to_have_count(1)
    expect(found(page).locator(".match")).to_have_text('the payment queue is <stuck> & "slow" &lt;b&gt; it\'s')
    expect(found(page).locator("mark")).to_have_text("stuck")
    expect(page.get_by_test_id("announcement")).to_have_text("1 session found.")
    assert_accessible(page)
    search_field(page).press("Enter")
    expect(page).to_have_url(re.compile(wanted["id"]))


def test_search_waits_for_the_last_key(page: Page, api: Api, login: Login) -> None:
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    api.session("redis failover")
    login(page)
    search_field(page).press_sequentially("redis", delay=20)
    expect(found(page)).to_have_count(1)
    assert [url.split("?")[1] for url in requests if "q=" in url] == ["q=redis&limit=100"]


def test_search_that_is_late_does_not_overwrite_a_newer_one(page: Page, api: Api, login: Login) -> None:
    api.session("first")
    api.session("second")
    login(page)
    late: list[Route] = []
    page.route("**/api/sessions?q=first*", lambda route: late.append(route))
    with page.expect_request("**/api/sessions?q=first*"):
        search_field(page).fill("first")
    with page.expect_event("requestfailed", lambda request: "q=first" in request.url):
        search_field(page).fill("second")
    expect(found(page)).to_have_count(1)
    expect(found(page)).to_contain_text("second")


def test_search_without_a_hit_says_so(page: Page, api: Api, login: Login) -> None:
    api.session("redis")
    login(page)
    search_field(page).fill("kafka")
    expect(sidebar(page)).to_contain_text("No session contains all of these words.")
    expect(page.get_by_test_id("announcement")).to_have_text("No session contains all of these words.")


def test_escape_clears_the_search_and_the_list_is_where_it_was(page: Page, api: Api, login: Login) -> None:
    for number in range(60):
        api.session(f"session {number:03}")
    login(page)
    listed(page).first.hover()
    page.mouse.wheel(0, 900)
    expect(row(page, "session 030")).to_be_in_viewport()
    place = row(page, "session 030").bounding_box()
    page.keyboard.press("/")
    page.keyboard.type("059")
    expect(found(page)).to_have_count(1)
    page.keyboard.press("Escape")
    expect(search_field(page)).to_have_value("")
    expect(search_field(page)).to_be_focused()
    expect(row(page, "session 030")).to_be_in_viewport()
    assert row(page, "session 030").bounding_box() == place


@pytest.mark.parametrize(
    ("match", "parts"),
    [
        ("plain", [["plain", False]]),
        ("a <mark>b</mark> c", [["a ", False], ["b", True], [" c", False]]),
        ("<mark>a</mark><mark>b</mark>", [["a", True], ["b", True]]),
        ("&lt;mark&gt;x&lt;/mark&gt;", [["<mark>x</mark>", False]]),
        ("<mark>&amp;lt;</mark>", [["&lt;", True]]),
        ("&amp;amp; &quot;q&quot; &#x27;s&#x27; &copy;", [["&amp; \"q\" 's' &copy;", False]]),
        ("two\nlines <mark>x\ny</mark>", [["two\nlines ", False], ["x\ny", True]]),
    ],
)
def test_match_is_split_into_text_and_marks(page: Page, match: str, parts: list[list[Any]]) -> None:
    page.goto("./")
    script = """async (match) => (await import("./static/sessions/match.js")).parseMatch(match)"""
    result = page.evaluate(script, match)
    assert [[part["text"], part["isMarked"]] for part in result] == parts


# Renaming


@pytest.mark.parametrize("way", ["button", "F2", "e", "double click"])
def test_rename_in_place(page: Page, api: Api, login: Login, way: str) -> None:
    api.session("old")
    login(page)
    if way == "button":
        row(page, "old").hover()
        page.get_by_role("button", name="Rename: old").click()
    elif way == "double click":
        row(page, "old").dblclick()
    else:
        row(page, "old").focus()
        page.keyboard.press(way)
    expect(editor(page)).to_have_value("old")
    editor(page).fill("  new  ")
    editor(page).press("Enter")
    expect(row(page, "new")).to_be_visible()
    expect(row(page, "new")).to_be_focused()
    assert titles(api) == ["new"]


def test_escape_keeps_the_old_title(page: Page, api: Api, login: Login) -> None:
    api.session("old")
    login(page)
    row(page, "old").focus()
    page.keyboard.press("F2")
    editor(page).fill("new")
    editor(page).press("Escape")
    expect(row(page, "old")).to_be_focused()
    assert titles(api) == ["old"]


def test_title_has_1_to_120_characters(page: Page, api: Api, login: Login) -> None:
    api.session("old")
    login(page)
    row(page, "old").focus()
    page.keyboard.press("F2")
    editor(page).fill("  ")
    editor(page).press("Enter")
    expect(page.get_by_role("alert")).to_have_text("A title has at least one character.")
    editor(page).fill("🔥" * 121)
    expect(page.get_by_role("alert")).to_have_text("A title has at most 120 characters: 1 too many.")
    assert_accessible(page)
    editor(page).press("Enter")
    assert titles(api) == ["old"]
    editor(page).fill("🔥" * 120)
    editor(page).press("Enter")
    expect(row(page, "🔥" * 120)).to_be_visible()
    assert titles(api) == ["🔥" * 120]


@pytest.mark.parametrize(("choice", "title"), [("Use yours", "mine"), ("Keep the other", "theirs")])
def test_rename_of_what_was_renamed_elsewhere_shows_both(
    page: Page, api: Api, login: Login, choice: str, title: str
) -> None:
    session = api.session("old")
    login(page)
    row(page, "old").focus()
    page.keyboard.press("F2")
    api.patch(f"/api/sessions/{session['id']}", {"title": "theirs"})
    editor(page).fill("mine")
    editor(page).press("Enter")
    dialog = page.get_by_role("dialog", name="The title was changed elsewhere")
    expect(dialog).to_contain_text("mine")
    expect(dialog).to_contain_text("theirs")
    assert_accessible(page)
    dialog.get_by_role("button", name=choice).click()
    expect(row(page, title)).to_be_visible()
    assert titles(api) == [title]


def test_rename_that_failed_keeps_what_was_typed(page: Page, api: Api, login: Login, problems: Problems) -> None:
    problems.allow_status(503)
    api.session("old")
    login(page)
    row(page, "old").focus()
    page.keyboard.press("F2")
    page.route("**/api/sessions/*", fail, times=1)
    editor(page).fill("new")
    editor(page).press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("The database is busy")
    expect(editor(page)).to_have_value("new")
    editor(page).press("Enter")
    expect(row(page, "new")).to_be_visible()
    assert titles(api) == ["new"]


# Deleting


def test_deleted_session_vanishes_at_once_and_is_gone_after_a_while(page: Page, api: Api, login: Login) -> None:
    api.session("one")
    api.session("two")
    login(page)
    page.clock.install()
    row(page, "two").hover()
    page.get_by_role("button", name="Delete: two").click()
    expect(row(page, "two")).to_have_count(0)
    expect(page.get_by_role("status").filter(has_text="1 session deleted")).to_be_visible()
    page.clock.run_for(7_000)
    assert titles(api) == ["two", "one"]
    with page.expect_response(lambda response: response.request.method == "DELETE") as deleted:
        page.clock.run_for(2_000)
    assert deleted.value.status == 204
    expect(page.get_by_role("button", name="Undo")).to_have_count(0)
    assert titles(api) == ["one"]


def test_deletion_can_be_undone(page: Page, api: Api, login: Login) -> None:
    api.session("one")
    login(page)
    page.clock.install()
    row(page, "one").click()
    expect(row(page, "one")).to_have_attribute("aria-current", "page")
    row(page, "one").focus()
    page.keyboard.press("Delete")
    expect(listed(page)).to_have_count(0)
    expect(page).to_have_url(re.compile("#/$"))
    page.get_by_role("button", name="Undo").click()
    expect(row(page, "one")).to_have_attribute("aria-current", "page")
    page.clock.run_for(10_000)
    assert titles(api) == ["one"]


def test_several_are_selected_with_shift_and_deleted_together(page: Page, api: Api, login: Login) -> None:
    for number in range(6):
        api.session(f"session {number}")
    login(page)
    sidebar(page).get_by_role("button", name="Select").click()
    expect(page.get_by_role("button", name="Delete", exact=True)).to_be_disabled()
    page.get_by_role("checkbox", name="session 4").check()
    page.get_by_role("checkbox", name="session 1").click(modifiers=["Shift"])
    page.get_by_role("checkbox", name="session 2").uncheck()
    expect(sidebar(page)).to_contain_text("3 sessions selected")
    assert_accessible(page)
    page.clock.install()
    page.get_by_role("button", name="Delete 3").click()
    expect(listed(page)).to_have_text([re.compile("session 5"), re.compile("session 2"), re.compile("session 0")])
    with page.expect_response(lambda response: response.request.method == "DELETE") as deleted:
        page.clock.run_for(9_000)
    assert deleted.value.json() == {"deleted": 3}
    assert titles(api) == ["session 5", "session 2", "session 0"]


def test_all_that_were_found_are_selected_at_once(page: Page, api: Api, login: Login) -> None:
    for title in ("drill one", "incident", "drill two"):
        api.session(title)
    login(page)
    search_field(page).fill("drill")
    expect(found(page)).to_have_count(2)
    sidebar(page).get_by_role("button", name="Select").click()
    sidebar(page).get_by_role("button", name="Select all found").click()
    page.get_by_role("button", name="Delete 2").click()
    expect(found(page)).to_have_count(0)
    search_field(page).fill("")
    expect(listed(page)).to_have_count(1)
    page.reload()
    expect(listed(page)).to_have_count(1)
    assert titles(api) == ["incident"]


def test_selection_by_keyboard_does_not_lose_the_focus(page: Page, api: Api, login: Login) -> None:
    api.session("one")
    api.session("two")
    login(page)
    select = sidebar(page).get_by_role("button", name="Select", exact=True)
    select.press("Enter")
    expect(page.get_by_role("button", name="Select all loaded")).to_be_focused()
    page.get_by_role("button", name="Cancel").press("Enter")
    expect(select).to_be_focused()
    select.press("Enter")
    page.get_by_role("checkbox", name="one").press("Space")
    page.get_by_role("button", name="Delete 1").press("Enter")
    expect(select).to_be_focused()
    page.get_by_role("button", name="Undo").press("Enter")
    expect(page.get_by_role("main")).to_be_focused()
    expect(listed(page)).to_have_count(2)


def test_escape_ends_the_selection(page: Page, api: Api, login: Login) -> None:
    api.session("one")
    login(page)
    row(page, "one").focus()
    page.keyboard.press("x")
    expect(page.get_by_role("checkbox", name="one")).to_be_checked()
    page.keyboard.press("Escape")
    expect(row(page, "one")).to_be_visible()


def test_deletion_that_failed_brings_the_rows_back(page: Page, api: Api, login: Login, problems: Problems) -> None:
    problems.allow_status(503)
    api.session("one")
    login(page)
    page.clock.install()
    page.route("**/api/sessions/*", fail, times=1)
    row(page, "one").focus()
    page.keyboard.press("Delete")
    expect(listed(page)).to_have_count(0)
    page.clock.run_for(9_000)
    expect(row(page, "one")).to_be_visible()
    expect(page.get_by_role("status").filter(has_text="could not be deleted. The database is busy")).to_be_visible()
    assert titles(api) == ["one"]


def test_page_that_is_left_deletes_what_could_have_been_undone(page: Page, api: Api, login: Login) -> None:
    for title in ("one", "two", "three"):
        api.session(title)
    login(page)
    row(page, "one").focus()
    page.keyboard.press("Delete")
    row(page, "two").focus()
    page.keyboard.press("Delete")
    expect(listed(page)).to_have_count(1)
    page.goto("about:blank")
    for _ in range(50):
        if titles(api) == ["three"]:
            break
        page.wait_for_timeout(100)
    assert titles(api) == ["three"]


# Two tabs


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


# Ten thousand


@pytest.mark.slow
def test_ten_thousand_sessions_scroll(page: Page, api: Api, login: Login) -> None:
    for number in range(10_000):
        api.session(f"session {number}")
    login(page)
    expect(row(page, "session 9999")).to_be_visible()
    listed(page).first.hover()
    most = 0
    for _ in range(400):
        page.mouse.wheel(0, 2_000)
        page.wait_for_timeout(20)
        most = max(most, page.get_by_role("list", name="All sessions").get_by_role("listitem").count())
        if row(page, "session 0").count():
            break
    expect(page.get_by_role("link", name=re.compile("^session 0 "))).to_be_in_viewport()
    assert most < 80


# How it looks


@pytest.mark.parametrize("width", [320, 1_280])
def test_list_is_accessible_and_fits(page: Page, api: Api, login: Login, width: int) -> None:
    api.session("a title that is longer than the list is wide, " * 2)
    api.session()
    page.set_viewport_size({"width": width, "height": 700})
    login(page)
    expect(listed(page)).to_have_count(2)
    assert_accessible(page)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
