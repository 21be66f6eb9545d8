"""The account screen: the password, logging out, deleting everything."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from tests.helpers.process import PASSWORD
from tests.page.accessibility import assert_accessible
from tests.page.api import Api
from tests.page.problems import Problems

Login = Callable[[Page], None]


@pytest.fixture
def account(page: Page, login: Login) -> Page:
    """The page, which shows the account."""
    login(page)
    page.get_by_role("link", name="Account").click()
    expect(page.get_by_role("heading", name="Account")).to_be_visible()
    return page


def change_password(page: Page, current: str, new: str) -> None:
    page.get_by_label("Current password").fill(current)
    page.get_by_label("New password").fill(new)
    page.get_by_role("button", name="Change password").click()


def log_in(page: Page, username: str, password: str) -> None:
    page.get_by_label("Username").fill(username)
    page.get_by_label("Password", exact=True).fill(password)
    page.get_by_role("button", name="Log in").click()


def api_url(page: Page) -> str:
    return f"{page.url.split('#')[0]}api/"


def dialog(page: Page) -> Locator:
    return page.get_by_role("dialog")


@pytest.mark.parametrize("width", [320, 1_280])
def test_account_says_who_is_logged_in(account: Page, api: Api, width: int) -> None:
    account.set_viewport_size({"width": width, "height": 700})
    expect(account.get_by_role("main")).to_contain_text(f"You are logged in as {api.username}.")
    expect(account.get_by_role("main")).to_contain_text(f"Parley {api.get('/api/about')['version']}")
    expect(account).to_have_title("Account – Parley")
    assert_accessible(account)
    assert account.evaluate("() => document.documentElement.scrollWidth") <= width


def test_password_is_changed(account: Page, api: Api, problems: Problems) -> None:
    problems.allow_status(401)
    change_password(account, PASSWORD, "a new password")
    expect(account.get_by_role("status").filter(has_text="Your other logins have ended.")).to_be_visible()
    expect(account.get_by_label("New password")).to_have_value("")
    account.get_by_role("button", name="Log out").click()
    log_in(account, api.username, PASSWORD)
    expect(account.get_by_role("alert")).to_have_text("The name or the password is wrong.")
    log_in(account, api.username, "a new password")
    expect(account.get_by_role("button", name="New session")).to_be_visible()


def test_wrong_current_password_is_sent_once_and_said(account: Page, problems: Problems) -> None:
    problems.allow_status(401)
    requests: list[str] = []
    account.on("request", lambda request: requests.append(f"{request.method} {request.url}"))
    change_password(account, "not my password", "a new password")
    expect(account.get_by_role("alert")).to_have_text("The current password is wrong.")
    expect(account.get_by_label("Current password")).to_have_value("not my password")
    assert [request for request in requests if request.startswith("POST")] == [f"POST {api_url(account)}auth/password"]


def test_short_password_is_not_sent(account: Page) -> None:
    requests: list[str] = []
    account.on("request", lambda request: requests.append(request.url))
    change_password(account, PASSWORD, "1234567")
    expect(account.get_by_label("New password")).to_be_focused()
    assert not requests


def test_log_out_leaves_nothing(account: Page, context: BrowserContext, api: Api) -> None:
    tab = context.new_page()
    tab.goto("./")
    expect(tab.get_by_role("button", name="New session")).to_be_visible()
    account.get_by_role("button", name="Log out").click()
    for page in (account, tab):
        expect(page.get_by_label("Password", exact=True)).to_be_visible()
    account.reload()
    expect(account.get_by_label("Password", exact=True)).to_be_visible()


def test_log_out_that_fails_says_so(account: Page, problems: Problems) -> None:
    problems.allow_status(503)
    answer = {"status": 503, "content_type": "application/json", "body": '{"error": "database_busy"}'}
    account.route("**/api/auth/logout", lambda route: route.fulfill(**answer))
    account.get_by_role("button", name="Log out").click()
    expect(account.get_by_text("The database is busy.")).to_be_visible()
    expect(account.get_by_role("button", name="Log out")).to_be_enabled()


def test_answer_after_log_out_is_not_shown_to_the_next_user(account: Page, api: Api, users: Iterator[int]) -> None:
    api.session("secret incident")
    account.evaluate(
        """() => {
          const original = fetch;
          window.fetch = async (url, options) => {
            const response = await original(url, options);
            if (url.includes("sessions?")) await new Promise((resolve) => { window.release = resolve; });
            return response;
          };
          dispatchEvent(new Event("focus")); // the list is read again
        }"""
    )
    account.wait_for_function("() => window.release")
    account.get_by_role("button", name="Log out").click()
    expect(account.get_by_label("Password", exact=True)).to_be_visible()
    account.evaluate("() => { release(); release = null; }")
    log_in(account, f"user {next(users)}", PASSWORD)
    account.wait_for_function("() => window.release")  # what is on the page now was there before its list was
    expect(account.get_by_role("button", name="New session")).to_be_visible()
    expect(account.get_by_text("secret incident")).to_have_count(0)


def test_log_out_asks_where_something_is_not_sent(account: Page, api: Api) -> None:
    save = "async () => (await import('./static/core/drafts.js')).saveDraft('place', {content: 'half a question'})"
    account.evaluate(save)
    account.get_by_role("button", name="Log out").click()
    expect(dialog(account)).to_contain_text("typed but not sent")
    assert_accessible(account)
    dialog(account).get_by_role("button", name="Cancel").click()
    expect(account.get_by_role("button", name="Log out")).to_be_focused()
    account.get_by_role("button", name="Log out").click()
    dialog(account).get_by_role("button", name="Remove and log out").click()
    expect(account.get_by_label("Password", exact=True)).to_be_visible()
    assert account.evaluate("() => Object.keys(localStorage).filter((key) => key.includes('draft'))") == []


def test_log_out_finishes_a_deletion(page: Page, api: Api, login: Login) -> None:
    api.session("one")
    login(page)
    page.get_by_role("link", name="one").focus()
    page.keyboard.press("Delete")
    page.get_by_role("link", name="Account").click()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("Password", exact=True)).to_be_visible()
    assert api.sessions() == []


def test_all_sessions_are_deleted_behind_the_typed_word(
    page: Page, context: BrowserContext, api: Api, login: Login
) -> None:
    for number in range(203):
        api.session(f"session {number}")
    login(page)
    tab = context.new_page()
    tab.goto(f"./#/s/{api.sessions()[-1]['id']}")
    expect(tab.get_by_role("heading", name="session 0", exact=True)).to_be_visible()
    page.goto("./#/account")
    page.get_by_role("button", name="Delete all sessions").click()
    question = page.get_by_role("dialog", name="Delete 203 sessions?")
    confirm = question.get_by_role("button", name="Delete 203 sessions")
    expect(confirm).to_be_disabled()
    assert_accessible(page)
    question.get_by_role("textbox").fill("Delete")
    expect(confirm).to_be_disabled()
    question.get_by_role("textbox").press("Enter")
    assert len(api.sessions()) == 203
    question.get_by_role("textbox").fill("delete")
    confirm.click()
    expect(page.get_by_role("status").filter(has_text="203 sessions deleted.")).to_be_visible()
    for each in (page, tab):
        expect(each.get_by_role("navigation", name="Sessions")).to_contain_text("There is no session yet.")
    assert api.sessions() == []


def test_deleting_all_can_be_dismissed(page: Page, api: Api, login: Login) -> None:
    api.session("one")
    login(page)
    page.goto("./#/account")
    page.get_by_role("button", name="Delete all sessions").click()
    expect(page.get_by_role("dialog", name="Delete 1 session?")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_role("button", name="Delete all sessions")).to_be_focused()
    assert len(api.sessions()) == 1


def test_account_of_nobody_with_sessions_has_nothing_to_delete(account: Page) -> None:
    account.get_by_role("button", name="Delete all sessions").click()
    expect(account.get_by_role("status").filter(has_text="There is no session to delete.")).to_be_visible()
    expect(account).to_have_url(re.compile("#/account$"))
