"""Deleting one session or several, and undoing that."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.helpers.clock import wait_until
from tests.page.accessibility import assert_accessible
from tests.page.api import Api
from tests.page.problems import Problems
from tests.page.session_list import Login, fail, found, listed, row, search_field, sidebar, titles


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
    wait_until(lambda: titles(api) == ["three"], "the others are deleted")
