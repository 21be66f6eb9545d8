"""What is typed is never lost; and where no model is configured, messages can be added."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.helpers.data_folder import DataFolder
from tests.helpers.process import PASSWORD
from tests.page.accessibility import assert_accessible
from tests.page.api import Api
from tests.page.conversations import answers, open_session, questions
from tests.page.problems import Problems

Login = Callable[[Page], None]


def test_draft_survives_a_reload_and_a_change_of_session(page: Page, login: Login, api: Api) -> None:
    first, second = api.session("First"), api.session("Second")
    login(page)
    composer = page.get_by_label("Ask a question")
    composer.fill("at the start")
    for session, text in ((first, "one\ntwo"), (second, "another")):
        open_session(page, session)
        expect(page.get_by_role("heading", name=session["title"], exact=True)).to_be_visible()
        composer.fill(text)
    open_session(page, first)
    expect(composer).to_have_value("one\ntwo")
    page.reload()
    expect(composer).to_have_value("one\ntwo")
    open_session(page, second)
    expect(composer).to_have_value("another")
    page.goto("./#/")
    expect(composer).to_have_value("at the start")


def test_draft_is_gone_once_it_is_sent(page: Page, login: Login, api: Api) -> None:
    login(page)
    open_session(page, api.session("A"))
    page.get_by_label("Ask a question").fill("say fine")
    page.get_by_role("button", name="Send", exact=True).click()
    expect(answers(page)).to_contain_text("fine")
    page.reload()
    expect(answers(page)).to_contain_text("fine")
    expect(page.get_by_label("Ask a question")).to_have_value("")
    assert "say fine" not in page.evaluate("() => JSON.stringify(localStorage)")


def test_drafts_are_gone_after_logging_out(page: Page, login: Login, api: Api) -> None:
    login(page)
    page.get_by_label("Ask a question").fill("secret thought")
    page.wait_for_timeout(400)
    page.get_by_role("link", name="Account").click()
    page.get_by_role("button", name="Log out").click()
    page.get_by_role("dialog").get_by_role("button", name="Log out").click()
    expect(page.get_by_label("Username")).to_be_visible()
    assert "secret thought" not in page.evaluate("() => JSON.stringify(localStorage)")


def test_login_that_expires_in_the_middle_of_typing(
    page: Page, login: Login, api: Api, context: BrowserContext, problems: Problems
) -> None:
    problems.allow_status(401)
    login(page)
    open_session(page, api.session("A"))
    composer = page.get_by_label("Ask a question")
    composer.fill("say still here")
    context.clear_cookies()
    page.route("**/api/sessions/**", lambda route: route.fulfill(status=401, json={"error": "token_expired"}), times=1)
    composer.press("Control+Enter")
    dialog = page.get_by_role("dialog", name="Your login has ended")
    expect(dialog).to_be_visible()
    assert_accessible(page)
    dialog.get_by_label("Username").fill(api.username)
    dialog.get_by_label("Password").fill(PASSWORD)
    dialog.get_by_role("button", name="Log in again").click()
    expect(dialog).to_be_hidden()
    page.get_by_role("button", name="Try again").click()
    expect(answers(page)).to_contain_text("still here")
    expect(questions(page)).to_have_count(1)


def test_offline_question_waits(
    page: Page, login: Login, api: Api, context: BrowserContext, problems: Problems
) -> None:
    problems.allow_failed_connections()
    login(page)
    open_session(page, api.session("A"))
    expect(page.get_by_text("Nothing has been asked yet.")).to_be_visible()
    context.set_offline(True)
    page.get_by_label("Ask a question").fill("say back")
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.get_by_text("Sent, waiting for the connection…")).to_be_visible()
    assert_accessible(page)
    context.set_offline(False)
    page.get_by_role("button", name="Try again").click()
    expect(answers(page)).to_contain_text("back")


def test_count_near_the_limit(page: Page, login: Login, api: Api) -> None:
    login(page)
    open_session(page, api.session("A"))
    composer = page.get_by_label("Ask a question")
    composer.fill("x" * 44_000)
    expect(page.get_by_text("characters left")).to_be_hidden()
    composer.fill("🙂" * 49_990)
    expect(page.get_by_text("10 characters left")).to_be_visible()
    composer.fill("x" * 50_003)
    expect(page.get_by_text("3 characters too long")).to_be_visible()
    page.get_by_role("button", name="Send", exact=True).click()
    expect(composer).to_have_value("x" * 50_003)
    assert_accessible(page)


class TestWithoutModel:
    @pytest.fixture
    def bare(self, browser: Browser, data_folder: DataFolder) -> Iterator[tuple[Page, Api]]:
        """A page of a server without model and actions, logged in."""
        with data_folder.serve() as server, Api(server, data_folder.token) as api:
            problems = Problems(server.url)
            context = browser.new_context(base_url=server.url, locale="en-GB")
            problems.watch(context)
            page = context.new_page()
            page.goto("./")
            page.get_by_label("Username").fill(api.username)
            page.get_by_label("Password").fill(PASSWORD)
            page.get_by_role("button", name="Log in").click()
            yield page, api
            context.close()
            problems.check()

    def test_messages_are_added_and_read(self, bare: tuple[Page, Api]) -> None:
        page, api = bare
        session = api.session("Notes")
        open_session(page, session)
        expect(page.get_by_text("No model is configured")).to_be_visible()
        composer = page.get_by_label("Write a message")
        for role, text in (("You", "seen at 3:00"), ("Assistant", "*restarted*"), ("System", "end of shift")):
            page.get_by_label("From").select_option(role)
            composer.fill(text)
            page.get_by_role("button", name="Add message").click()
            expect(page.get_by_role("article", name=role)).to_contain_text(text.strip("*"))
            expect(composer).to_have_value("")
        expect(page.get_by_role("button", name="Ask again")).to_be_hidden()
        expect(page.get_by_role("link", name="Actions")).to_be_hidden()
        assert_accessible(page)
        page.reload()
        expect(page.get_by_role("article")).to_have_count(3)
        assert [(each["role"], each["content"]) for each in api.messages(session)] == [
            ("user", "seen at 3:00"),
            ("assistant", "*restarted*"),
            ("system", "end of shift"),
        ]

    def test_start_creates_a_session_with_the_message(self, bare: tuple[Page, Api]) -> None:
        page, api = bare
        page.get_by_label("Write a message").fill("first note")
        page.get_by_role("button", name="Add message").click()
        expect(page.get_by_role("article", name="You")).to_contain_text("first note")
        assert api.messages(api.sessions()[0])[0]["content"] == "first note"


@pytest.mark.parametrize("stored", ['"text"', "5", "{}", "[]", '{"content": 5}', "{"])
def test_what_is_no_draft_is_ignored(page: Page, login: Login, api: Api, stored: str) -> None:
    session = api.session("First")
    login(page)
    save = """async ([session, stored]) => {
      const { saveDraft } = await import("./static/core/drafts.js");
      for (const place of [session, `${session}.question`, `${session}.prompt`]) {
        saveDraft(place, {});
        const key = Object.keys(localStorage).find((name) => name.endsWith(`.${place}`));
        localStorage.setItem(key, stored);
      }
    }"""
    page.evaluate(save, [session["id"], stored])
    page.reload()
    open_session(page, session)
    expect(page.get_by_label("Ask a question")).to_have_value("")
