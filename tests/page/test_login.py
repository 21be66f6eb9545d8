"""Logging in and out, in one tab and in several, and what happens when a login ends."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.helpers.client import message
from tests.helpers.clock import wait_until
from tests.helpers.process import PASSWORD, ServerProcess, create_user, run_flask
from tests.page.accessibility import assert_accessible
from tests.page.api import Api
from tests.page.conversations import open_session
from tests.page.problems import Problems

Login = Callable[[Page], None]

NEW_PASSWORD = "another horse battery"
STORED = """
async () => JSON.stringify([
  Object.entries(localStorage), Object.entries(sessionStorage), document.cookie, window.name,
  (await indexedDB.databases()).length, await caches.keys(),
])
"""


def submit(page: Page, username: str, password: str, button: str = "Log in") -> None:
    page.get_by_label("Username").fill(username)
    page.get_by_label("Password", exact=True).fill(password)
    page.get_by_role("button", name=button, exact=True).click()


def expect_logged_in(page: Page) -> None:
    expect(page.get_by_role("navigation", name="Sessions")).to_be_visible()


def expect_logged_out(page: Page) -> None:
    expect(page.get_by_role("button", name="Log in", exact=True)).to_be_visible()


def end_logins(api: Api, password: str = PASSWORD, new: str = NEW_PASSWORD) -> None:
    """Change the password elsewhere, which ends the page's login."""
    api.post("/api/auth/password", {"current_password": password, "new_password": new})


def touch(page: Page) -> None:
    """Come back to the page, which reads its sessions again then."""
    page.evaluate("() => window.dispatchEvent(new Event('focus'))")


def expect_expired(page: Page) -> None:
    touch(page)
    expect(page.get_by_role("dialog", name="Your login has ended")).to_be_visible()


def test_wrong_password_can_be_corrected_at_once(page: Page, api: Api, problems: Problems) -> None:
    problems.allow_status(401)
    page.goto("./")
    expect(page.get_by_label("Username")).to_be_focused()
    submit(page, api.username, "wrong")
    expect(page.get_by_role("alert")).to_have_text("The name or the password is wrong.")
    expect(page.get_by_label("Password", exact=True)).to_be_focused()
    expect(page.get_by_label("Username")).to_have_value(api.username)
    assert_accessible(page)
    page.keyboard.type(PASSWORD)  # the wrong one is selected
    page.keyboard.press("Enter")
    expect_logged_in(page)


def test_too_many_attempts_say_how_long_to_wait(
    page: Page, api: Api, server: ServerProcess, problems: Problems
) -> None:
    problems.allow_status(429)
    for _ in range(10):
        body = {"username": api.username, "password": "wrong"}
        assert server.request("POST", "/api/auth/login", body)[0] == 401
    page.goto("./")
    submit(page, api.username, PASSWORD)
    expect(page.get_by_role("alert")).to_have_text(re.compile(r"Too many attempts\. Try again in [1-5] min\."))


def test_password_managers_recognize_the_form(page: Page) -> None:
    page.goto("./")
    expect(page.get_by_label("Username")).to_have_attribute("autocomplete", "username")
    expect(page.get_by_label("Password", exact=True)).to_have_attribute("autocomplete", "current-password")
    expect(page.get_by_label("Password", exact=True)).to_have_attribute("type", "password")


def test_reload_and_new_tab_stay_logged_in(page: Page, login: Login) -> None:
    login(page)
    page.reload()
    expect_logged_in(page)
    other = page.context.new_page()
    other.goto("./")
    expect_logged_in(other)


def test_no_script_can_read_a_token_from_storage(page: Page, login: Login, api: Api, context: BrowserContext) -> None:
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.headers.get("authorization", "")))
    login(page)
    open_session(page, api.session("one"))
    page.get_by_role("textbox", name="Ask a question").fill("a draft")
    wait_until(lambda: "a draft" in page.evaluate(STORED), "it is stored")  # so it is what the page has stored
    stored = page.evaluate(STORED)
    tokens = {value.removeprefix("Bearer ") for value in sent if value}
    assert tokens
    assert not any(token in stored for token in tokens)
    assert not re.search(r"eyJ|\w{20,}\.\w{20,}", stored)
    [cookie] = context.cookies()
    assert (cookie["name"], cookie["httpOnly"], cookie["sameSite"]) == ("parley_refresh", True, "Strict")
    assert cookie["path"] == "/api/auth"


def test_logout_logs_out_every_tab(page: Page, login: Login, api: Api, context: BrowserContext) -> None:
    api.session("secret incident")
    login(page)
    other = context.new_page()
    other.goto("./")
    expect_logged_in(other)
    page.goto("./#/account")
    page.get_by_role("button", name="Log out").click()
    for tab in (page, other):
        expect_logged_out(tab)
        expect(tab.get_by_text("secret incident")).to_have_count(0)
        tab.reload()
        expect_logged_out(tab)
    assert context.cookies() == []


def test_login_in_one_tab_logs_in_the_others(page: Page, login: Login, context: BrowserContext) -> None:
    other = context.new_page()
    other.goto("./")
    expect_logged_out(other)
    login(page)
    expect_logged_in(other)


def test_expired_login_keeps_what_is_on_the_page(page: Page, login: Login, api: Api, problems: Problems) -> None:
    problems.allow_status(401)
    login(page)
    open_session(page, api.session("incident"))
    question = page.get_by_role("textbox", name="Ask a question")
    question.press_sequentially("Is the queue ")
    end_logins(api)
    expect_expired(page)
    expect(page.locator(".app")).to_have_attribute("inert", "")
    expect(page.get_by_label("Password", exact=True)).to_be_focused()
    expect(page.get_by_label("Username")).to_have_value(api.username)
    assert_accessible(page)
    page.keyboard.type("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog").get_by_role("alert")).to_have_text("The name or the password is wrong.")
    page.keyboard.type(NEW_PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(question).to_be_focused()
    page.keyboard.type("full?")
    expect(question).to_have_value("Is the queue full?")
    expect(page.get_by_text("You have been logged out.")).to_have_count(0)


def test_what_an_expired_login_could_not_open_opens_afterwards(
    page: Page, login: Login, api: Api, problems: Problems
) -> None:
    problems.allow_status(401)
    login(page)
    session = api.imported(message("The queue was full.", role="assistant"), title="incident")
    touch(page)
    expect(page.get_by_role("link", name="incident")).to_be_visible()
    end_logins(api)
    open_session(page, session)
    expect(page.get_by_role("dialog", name="Your login has ended")).to_be_visible()
    page.get_by_label("Password", exact=True).fill(NEW_PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_contain_text("The queue was full.")


def test_question_sent_with_an_expired_login_is_kept(page: Page, login: Login, api: Api, problems: Problems) -> None:
    problems.allow_status(401)
    login(page)
    session = api.session("incident")
    open_session(page, session)
    page.get_by_role("textbox", name="Ask a question").fill("Is the queue full?")
    end_logins(api)
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.get_by_role("dialog", name="Your login has ended")).to_be_visible()
    page.get_by_label("Password", exact=True).fill(NEW_PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("article", name="Assistant")).to_contain_text("Is the queue full?")
    assert [entry["role"] for entry in api.messages(session)] == ["user", "assistant"]


def test_login_after_expiry_counts_for_all_tabs(page: Page, login: Login, api: Api, problems: Problems) -> None:
    problems.allow_status(401)
    login(page)
    other = page.context.new_page()
    other.goto("./")
    expect_logged_in(other)
    end_logins(api)
    expect_expired(page)
    expect_expired(other)
    page.get_by_label("Password", exact=True).fill(NEW_PASSWORD)
    page.keyboard.press("Enter")
    for tab in (page, other):
        expect(tab.get_by_role("dialog")).to_have_count(0)
        touch(tab)
        expect_logged_in(tab)


def test_somebody_else_at_an_expired_page_sees_nothing_of_the_first(
    page: Page, login: Login, api: Api, users: Iterator[int], problems: Problems
) -> None:
    problems.allow_status(401, 404)
    login(page)
    open_session(page, api.session("secret incident"))
    page.get_by_role("textbox", name="Ask a question").fill("secret draft")
    other = page.context.new_page()
    other.goto("./")
    expect(other.get_by_text("secret incident")).to_be_visible()
    end_logins(api)
    expect_expired(page)
    submit(page, f"user {next(users)}", PASSWORD, "Log in again")
    for tab in (page, other):
        expect(tab.get_by_text("secret incident")).to_have_count(0)
        expect_logged_in(tab)
        expect(tab).to_have_url(re.compile("#/$|/$"))


def test_two_tabs_refresh_at_once_and_stay_logged_in(
    page: Page, login: Login, api: Api, context: BrowserContext
) -> None:
    context.clock.install()
    login(page)
    tabs = [page, *(context.new_page() for _ in range(3))]
    for tab in tabs[1:]:
        tab.goto("./")
        expect_logged_in(tab)
    refreshed: list[str] = []
    context.on("request", lambda request: refreshed.append(request.url))
    for number in range(3):
        title = api.session(f"round {number}")["title"]
        refreshed.clear()
        context.clock.fast_forward("16:00")  # all access tokens have expired
        for tab in tabs:
            touch(tab)
        for tab in tabs:
            expect(tab.get_by_role("navigation", name="Sessions")).to_contain_text(title)
        assert sum(url.endswith("auth/refresh") for url in refreshed) >= len(tabs)


def test_two_tabs_without_locks_refresh_at_once(
    page: Page, login: Login, api: Api, context: BrowserContext, problems: Problems
) -> None:
    problems.allow_status(409)  # refresh_raced
    context.add_init_script("delete Navigator.prototype.locks")
    test_two_tabs_refresh_at_once_and_stay_logged_in(page, login, api, context)
    assert page.evaluate("() => navigator.locks === undefined")


def test_everything_works_on_plain_http(browser: Browser, server: ServerProcess, api: Api) -> None:
    page = browser.new_page(base_url=server.url.replace("127.0.0.1", "parley.example"))
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto("./")
    assert page.evaluate("() => [isSecureContext, 'locks' in navigator, 'clipboard' in navigator]") == [False] * 3
    submit(page, api.username, PASSWORD)
    expect_logged_in(page)
    session = api.session("on plain http")
    page.goto(f"./#/s/{session['id']}")
    page.get_by_role("textbox", name="Ask a question").fill("say hello there")
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.get_by_role("article", name="Assistant")).to_contain_text("hello there")
    page.reload()
    expect(page.get_by_role("article", name="Assistant")).to_contain_text("hello there")
    page.get_by_role("article", name="Assistant").get_by_role("button", name="Copy message as Markdown").click()
    expect(page.get_by_role("status").filter(has_text="copied")).to_be_visible()
    assert not errors


def test_first_start_says_how_to_make_a_user(browser: Browser, tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data") as server, browser.new_context(base_url=server.url) as context:
        page = context.new_page()
        page.goto("./")
        hint = page.get_by_role("region", name="There is no user yet")
        expect(hint).to_contain_text("flask users add NAME")
        assert_accessible(page)
        create_user(tmp_path / "data", "first")
        submit(page, "first", PASSWORD)
        expect_logged_in(page)
        page.goto("./#/account")
        page.get_by_role("button", name="Log out").click()
        page.reload()
        expect_logged_out(page)
        expect(hint).to_have_count(0)


def test_page_that_cannot_reach_the_server_tries_again(page: Page, login: Login, problems: Problems) -> None:
    problems.allow_failed_connections()
    login(page)
    page.route("**/api/**", lambda route: route.abort())
    page.reload()
    expect(page.get_by_role("alert")).to_contain_text("Parley cannot be reached.")
    assert_accessible(page)
    page.unroute("**/api/**")
    page.get_by_role("button", name="Try again").click()
    expect_logged_in(page)


@pytest.mark.parametrize("width", [320, 1_280])
def test_login_fits(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 480})
    page.goto("./")
    expect_logged_out(page)
    assert page.evaluate("() => document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert_accessible(page)


def test_removed_user_is_logged_out(browser: Browser, tmp_path: Path) -> None:
    create_user(tmp_path / "data", "gone")
    with ServerProcess(tmp_path / "data") as server, browser.new_context(base_url=server.url) as context:
        tab = context.new_page()
        tab.goto("./")
        submit(tab, "gone", PASSWORD)
        expect_logged_in(tab)
        assert run_flask(tmp_path / "data", "users", "remove", "gone", "--yes").returncode == 0
        expect_expired(tab)
