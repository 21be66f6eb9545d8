"""The whole way by keyboard: nothing in these tests is clicked."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.helpers.process import PASSWORD
from tests.page.accessibility import assert_accessible
from tests.page.api import Api

Login = Callable[[Page], None]


def link(page: Page, title: str) -> Locator:
    return page.get_by_role("navigation", name="Sessions").get_by_role("link", name=title)


def tab_to(page: Page, target: Locator, limit: int = 40) -> None:
    """Press Tab until an element has the focus."""
    for _ in range(limit):
        page.keyboard.press("Tab")
        if target.evaluate("(element) => element === document.activeElement"):
            return
    pytest.fail(f"Tab does not come to {target}", pytrace=False)


@pytest.fixture
def sessions(page: Page, api: Api, login: Login) -> Page:
    """The page with five sessions."""
    for number in range(5):
        api.session(f"session {number}")
    login(page)
    expect(link(page, "session 4")).to_be_visible()
    return page


def test_login_to_logout(page: Page, api: Api) -> None:
    page.goto("./")
    expect(page.get_by_label("Username")).to_be_focused()
    page.keyboard.type(api.username)
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    tab_to(page, page.get_by_role("button", name="New session"))
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("#/s/"))
    expect(link(page, "Untitled session")).to_have_attribute("aria-current", "page")
    page.keyboard.press("Escape")
    tab_to(page, link(page, "Account"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Account")).to_be_visible()
    expect(page.get_by_role("main")).to_be_focused()
    tab_to(page, page.get_by_role("button", name="Log out"))
    page.keyboard.press("Enter")
    expect(page.get_by_label("Username")).to_be_visible()


def test_first_tab_stop_skips_the_list(sessions: Page) -> None:
    sessions.reload()
    expect(link(sessions, "session 4")).to_be_visible()
    sessions.keyboard.press("Tab")
    expect(sessions.get_by_role("button", name="Skip to the conversation")).to_be_focused()
    sessions.keyboard.press("Enter")
    expect(sessions.get_by_role("main")).to_be_focused()


def test_j_and_k_open_the_next_and_the_previous_session(sessions: Page) -> None:
    for key, title in (("j", "session 4"), ("j", "session 3"), ("j", "session 2"), ("k", "session 3")):
        sessions.keyboard.press(key)
        expect(link(sessions, title)).to_have_attribute("aria-current", "page")
        expect(sessions).to_have_title(re.compile(title))


def test_j_keeps_the_focus_in_the_list(sessions: Page) -> None:
    link(sessions, "session 3").focus()
    sessions.keyboard.press("j")
    expect(link(sessions, "session 4")).to_have_attribute("aria-current", "page")
    sessions.keyboard.press("j")
    expect(link(sessions, "session 3")).to_be_focused()


def test_arrow_keys_move_through_the_list_and_tab_leaves_it(sessions: Page) -> None:
    tab_to(sessions, link(sessions, "session 4"))
    for key, title in (
        ("ArrowDown", "session 3"),
        ("End", "session 0"),
        ("ArrowUp", "session 1"),
        ("Home", "session 4"),
    ):
        sessions.keyboard.press(key)
        expect(link(sessions, title)).to_be_focused()
    sessions.keyboard.press("Tab")
    expect(sessions.get_by_role("button", name="Rename: session 4")).to_be_focused()
    sessions.keyboard.press("Tab")
    sessions.keyboard.press("Tab")
    expect(link(sessions, "Import and export")).to_be_focused()


def test_row_keeps_the_focus_when_the_list_changes(sessions: Page, api: Api) -> None:
    link(sessions, "session 2").focus()
    oldest = api.sessions()[-1]
    api.patch(f"/api/sessions/{oldest['id']}", {"title": "moved to the top"})
    sessions.evaluate("() => window.dispatchEvent(new Event('focus'))")
    expect(link(sessions, "moved to the top")).to_be_visible()
    expect(link(sessions, "session 2")).to_be_focused()
    moved = api.sessions()[3]
    assert moved["title"] == "session 2"
    api.patch(f"/api/sessions/{moved['id']}", {"title": "session 2, the newest"})
    sessions.evaluate("() => window.dispatchEvent(new Event('focus'))")
    expect(link(sessions, "session 2, the newest")).to_be_focused()


def test_row_keeps_the_focus_when_it_is_scrolled_away(page: Page, api: Api, login: Login) -> None:
    for number in range(90):
        api.session(f"session {number:02}")
    login(page)
    link(page, "session 89").focus()
    page.mouse.move(100, 400)
    page.mouse.wheel(0, 2_500)
    expect(link(page, "session 10")).to_be_visible()
    expect(link(page, "session 89")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(link(page, "session 88")).to_be_focused()
    expect(link(page, "session 88")).to_be_in_viewport()


def test_delete_and_undo(sessions: Page, api: Api) -> None:
    link(sessions, "session 3").focus()
    sessions.keyboard.press("Delete")
    expect(link(sessions, "session 3")).to_have_count(0)
    expect(link(sessions, "session 2")).to_be_focused()
    sessions.keyboard.press("z")
    expect(link(sessions, "session 3")).to_be_visible()
    expect(sessions.get_by_role("button", name="Undo")).to_have_count(0)


def test_select_several_and_delete_them(sessions: Page, api: Api) -> None:
    link(sessions, "session 4").focus()
    sessions.keyboard.press("x")
    sessions.keyboard.press("ArrowDown")
    sessions.keyboard.press("ArrowDown")
    expect(sessions.get_by_role("checkbox", name="session 2")).to_be_focused()
    sessions.keyboard.press("Shift+Space")
    delete = sessions.get_by_role("button", name="Delete 3")
    for _ in range(10):
        sessions.keyboard.press("Shift+Tab")
        if delete.evaluate("(element) => element === document.activeElement"):
            break
    sessions.keyboard.press("Enter")
    expect(link(sessions, "session 1")).to_be_visible()
    expect(link(sessions, "session 2")).to_have_count(0)


def test_search_and_open_what_was_found(sessions: Page) -> None:
    sessions.keyboard.press("/")
    sessions.keyboard.type("session")
    found = sessions.get_by_role("list", name="Sessions found").get_by_role("link")
    expect(found).to_have_count(5)
    sessions.keyboard.press("ArrowDown")
    expect(found.first).to_be_focused()
    sessions.keyboard.press("ArrowDown")
    sessions.keyboard.press("Enter")
    expect(found.nth(1)).to_have_attribute("aria-current", "page")


def test_keys_do_nothing_while_one_types(sessions: Page) -> None:
    sessions.keyboard.press("/")
    sessions.keyboard.type("njkzx?")
    expect(sessions.get_by_role("searchbox")).to_have_value("njkzx?")
    expect(sessions).to_have_url(re.compile("/(#/)?$"))


def test_list_of_shortcuts_and_the_switch_for_single_keys(sessions: Page) -> None:
    sessions.keyboard.press("?")
    dialog = sessions.get_by_role("dialog", name="Keyboard")
    expect(dialog).to_contain_text("Undo the deletion")
    assert_accessible(sessions)
    tab_to(sessions, dialog.get_by_role("checkbox", name="Single keys work"))
    sessions.keyboard.press("Space")
    sessions.keyboard.press("Escape")
    sessions.keyboard.press("j")
    sessions.keyboard.press("?")
    expect(dialog).to_have_count(0)
    expect(sessions).to_have_url(re.compile("/(#/)?$"))
    link(sessions, "session 4").focus()
    sessions.keyboard.press("F2")
    expect(sessions.get_by_role("textbox", name="Title")).to_be_focused()
