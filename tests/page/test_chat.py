"""Asking, and reading the answer while it is written, whatever happens meanwhile."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Page, Route, expect

from tests.helpers.clock import wait_until
from tests.helpers.process import FakeLlm
from tests.page.accessibility import assert_accessible
from tests.page.api import Api
from tests.page.conversations import answers, ask, delta, is_at_end, open_session, questions, scroller
from tests.page.problems import Problems

Login = Callable[[Page], None]

SLOW = "\n".join([delta("# Failover\n\n"), "repeat 40 0.1 word ", "say the end"])
# Its end comes when the test says so.
HELD = "\n".join([delta("# Failover\n\n"), "repeat 40 0.02 word ", "hold", "say the end"])
LONG = "\n".join(["repeat 20 0 " + "text " * 40, delta("\n\n"), *[delta("A paragraph.\n\n"), "wait 0.1"] * 120])


@pytest.fixture
def opened(page: Page, login: Login, api: Api) -> Page:
    """A page with a new session open."""
    login(page)
    open_session(page, api.session("Checkout"))
    return page


def scripts_of(fake_llm: FakeLlm, question: str) -> int:
    """Return how often the model was asked a question."""
    return sum(call["request"]["messages"][-1]["content"] == question for call in fake_llm.calls())


def test_main_job(page: Page, login: Login, api: Api, fake_llm: FakeLlm) -> None:
    """Log in, ask, see the answer stream, reload in the middle and find it all again."""
    login(page)
    ask(page, HELD)
    expect(answers(page)).to_contain_text("word word word")
    expect(answers(page)).not_to_contain_text("the end")
    expect(page.get_by_role("heading", name="Failover", exact=True)).to_be_visible()
    page.reload()
    expect(answers(page)).to_contain_text("word word word")
    expect(answers(page)).not_to_contain_text("the end")
    fake_llm.release()
    expect(answers(page)).to_contain_text("the end")
    expect(page.get_by_role("button", name="Send", exact=True)).to_be_visible()
    expect(answers(page)).to_have_count(1)
    expect(questions(page)).to_have_count(1)
    shown = answers(page).inner_text()
    assert shown.count("word ") == 40
    (session,) = api.sessions()
    question, answer = api.messages(session)
    assert (question["content"], answer["metadata"]["finish_reason"]) == (HELD, "stop")
    assert scripts_of(fake_llm, HELD) == 1
    page.reload()
    expect(answers(page)).to_contain_text("the end")
    wait_until(lambda: answers(page).inner_text() == shown)  # not before it is drawn


def test_session_is_named_after_its_first_question(page: Page, login: Login, api: Api) -> None:
    login(page)
    question = (
        "## The payment queue is full and nothing moves since the deployment of this morning, what now?\nlog\nlog"
    )
    ask(page, question)
    title = "The payment queue is full and nothing moves since the deployment of this…"
    expect(page.get_by_role("heading", name=title)).to_be_visible()
    expect(page.get_by_role("navigation", name="Sessions")).to_contain_text(title)
    assert [session["title"] for session in api.sessions()] == [title]


def test_title_is_kept(opened: Page, api: Api) -> None:
    ask(opened, "say fine")
    expect(answers(opened)).to_contain_text("fine")
    assert [session["title"] for session in api.sessions()] == ["Checkout"]


def test_answer_says_when_by_whom_and_how_long(opened: Page, api: Api) -> None:
    ask(opened, "say fine")
    expect(answers(opened)).to_have_attribute("aria-busy", "false")
    (session,) = api.sessions()
    answer = api.messages(session)[1]
    expect(answers(opened)).to_contain_text(re.compile(r"\d\d:\d\d stand-in-1 · \d+ (m?s)".replace(" ", r"\s*")))
    utc = answer["created_at"].replace("T", " ").replace("Z", " UTC")
    expect(answers(opened).get_by_role("time")).to_have_attribute("title", utc)


def test_finished_answer_is_read_out(opened: Page, fake_llm: FakeLlm) -> None:
    ask(opened, HELD)
    expect(answers(opened)).to_have_attribute("aria-busy", "true")
    expect(opened.get_by_test_id("announcement")).to_be_empty()
    fake_llm.release()
    expect(opened.get_by_test_id("announcement")).to_contain_text(re.compile("^Answer: # Failover word word"))
    expect(answers(opened)).to_have_attribute("aria-busy", "false")


def test_keys(opened: Page) -> None:
    composer = opened.get_by_label("Ask a question")
    composer.press_sequentially("say first")
    composer.press("Shift+Enter")
    composer.press_sequentially("say second")
    expect(composer).to_have_value("say first\nsay second")
    composer.press("Enter")
    expect(answers(opened)).to_contain_text("second")
    expect(composer).to_be_focused()
    expect(composer).to_have_value("")
    composer.press_sequentially("third")
    composer.press("Control+Enter")
    expect(answers(opened).nth(1)).to_contain_text("third")
    expect(composer).to_be_focused()


def test_stop_keeps_what_has_come(opened: Page, api: Api) -> None:
    ask(opened, HELD)
    expect(answers(opened)).to_contain_text("word word")
    opened.get_by_role("button", name="Stop").click()
    expect(answers(opened)).to_contain_text("Stopped by you")
    expect(answers(opened)).to_contain_text("word word")
    expect(answers(opened)).to_have_count(1)
    (session,) = api.sessions()
    answer = api.messages(session)[1]
    assert answer["metadata"]["finish_reason"] == "stopped"
    assert "the end" not in answer["content"]
    assert_accessible(opened)


def test_escape_in_the_composer_stops(opened: Page) -> None:
    ask(opened, HELD)
    expect(answers(opened)).to_contain_text("word word")
    opened.get_by_label("Ask a question").press("Escape")
    expect(answers(opened)).to_contain_text("Stopped by you")


def test_escape_stops_what_is_asked_again(opened: Page) -> None:
    ask(opened, HELD)
    expect(answers(opened)).to_contain_text("word word")
    opened.keyboard.press("Escape")
    opened.get_by_role("button", name="Ask again").press("Enter")
    expect(opened.get_by_role("region", name="Messages")).to_be_focused()
    expect(answers(opened).last).to_contain_text("word word")
    opened.keyboard.press("Escape")
    expect(answers(opened).last).to_contain_text("Stopped by you")


@pytest.mark.parametrize(
    ("question", "says"),
    [
        ("say half\nerror", "The model's server failed."),
        ("status 500", "The model's server failed."),
        ("say half\nbreak", "Failed before it was complete"),
    ],
)
def test_ask_again_after_an_error(opened: Page, api: Api, question: str, says: str) -> None:
    ask(opened, question)
    expect(scroller(opened)).to_contain_text(says)
    assert_accessible(opened)
    again = opened.get_by_role("button", name="Ask again")
    opened.reload()
    again.click()
    expect(again).to_be_hidden()
    expect(again).to_be_visible()
    expect(questions(opened)).to_have_count(1)
    (session,) = api.sessions()
    roles = [message["role"] for message in api.messages(session)]
    assert roles == ["user", "assistant"][: 1 + ("half" in question)]
    expect(answers(opened)).to_have_count(len(roles) - 1)


def test_ask_again_three_times_after_stops(opened: Page, api: Api, fake_llm: FakeLlm) -> None:
    ask(opened, HELD)
    stop, again = (opened.get_by_role("button", name=name) for name in ("Stop", "Ask again"))
    for _ in range(3):
        expect(opened.get_by_role("article", name="Assistant, writing")).to_contain_text("word word")
        expect(answers(opened)).to_have_count(1)
        stop.click()
        expect(answers(opened)).to_contain_text("Stopped by you")
        again.click()
    expect(answers(opened)).to_have_count(1)
    fake_llm.release()
    expect(answers(opened)).to_contain_text("the end")
    expect(questions(opened)).to_have_count(1)
    (session,) = api.sessions()
    assert [message["role"] for message in api.messages(session)] == ["user", "assistant"]
    assert scripts_of(fake_llm, HELD) >= 4


def test_partial_answer_stays_until_the_next_one_begins(opened: Page, fake_llm: FakeLlm) -> None:
    ask(opened, f"hold\n{SLOW}\nhold")
    fake_llm.release()
    stop, again = (opened.get_by_role("button", name=name) for name in ("Stop", "Ask again"))
    expect(answers(opened)).to_contain_text("word word")
    stop.click()
    again.click()
    expect(answers(opened)).to_have_count(2)
    expect(answers(opened).first).to_contain_text("Stopped by you")
    fake_llm.release()
    expect(answers(opened)).to_have_count(1)
    expect(answers(opened)).to_contain_text("the end")
    fake_llm.release()


def test_question_that_nobody_has_answered_can_be_asked(page: Page, login: Login, api: Api) -> None:
    session = api.imported({"role": "user", "content": "say at last"}, title="Old")
    login(page)
    open_session(page, session)
    page.get_by_role("button", name="Ask again").click()
    expect(answers(page)).to_contain_text("at last")
    assert [message["content"] for message in api.messages(session)] == ["say at last", "at last"]


def test_question_goes_to_the_composer_again(opened: Page) -> None:
    ask(opened, "say fine")
    expect(answers(opened)).to_contain_text("fine")
    questions(opened).hover()
    questions(opened).get_by_role("button", name="Copy message to the composer").click()
    composer = opened.get_by_label("Ask a question")
    expect(composer).to_have_value("say fine")
    expect(composer).to_be_focused()


def test_answer_goes_on_in_another_session_meanwhile(opened: Page, api: Api) -> None:
    first = opened.url
    ask(opened, SLOW)
    expect(answers(opened)).to_contain_text("word")
    open_session(opened, api.session("Another"))
    expect(opened.get_by_text("Nothing has been asked yet.")).to_be_visible()
    expect(opened.get_by_role("button", name="Send", exact=True)).to_be_visible()
    opened.goto(first)
    expect(answers(opened)).to_contain_text("the end")
    assert answers(opened).inner_text().count("word ") == 40


def test_offline_in_the_middle_of_an_answer(
    opened: Page, context: BrowserContext, problems: Problems, fake_llm: FakeLlm
) -> None:
    problems.allow_failed_connections()
    ask(opened, HELD)
    expect(answers(opened)).to_contain_text("word word")
    context.set_offline(True)
    expect(opened.get_by_text("Connection lost. The answer goes on at the server")).to_be_visible()
    expect(answers(opened)).to_contain_text("word word")
    assert_accessible(opened)
    context.set_offline(False)
    expect(opened.get_by_text("Connection lost.")).to_be_hidden()
    fake_llm.release()
    expect(answers(opened)).to_contain_text("the end")
    assert answers(opened).inner_text().count("word ") == 40


def test_offline_until_after_the_end(
    opened: Page, context: BrowserContext, api: Api, problems: Problems, fake_llm: FakeLlm
) -> None:
    problems.allow_failed_connections()
    ask(opened, HELD)
    expect(answers(opened)).to_contain_text("word")
    context.set_offline(True)
    expect(opened.get_by_text("Connection lost.")).to_be_visible()
    fake_llm.release()
    (session,) = api.sessions()
    wait_until(lambda: len(api.messages(session)) == 2, "the answer is stored")
    context.set_offline(False)
    expect(answers(opened)).to_contain_text("the end")
    expect(opened.get_by_text("Connection lost.")).to_be_hidden()
    expect(answers(opened)).to_have_count(1)


@pytest.mark.parametrize("is_stored", [True, False], ids=["stored", "not-stored"])
def test_same_question_is_not_asked_twice_after_a_lost_answer(
    opened: Page, api: Api, fake_llm: FakeLlm, problems: Problems, is_stored: bool
) -> None:
    problems.allow_failed_connections()
    question = f"say only once {is_stored}"
    keys = []

    def lose(route: Route) -> None:
        keys.append(route.request.headers["idempotency-key"])
        if len(keys) == 1:
            if is_stored:
                route.fetch()
            route.abort("connectionreset")
        else:
            route.continue_()

    opened.route("**/chat", lose)
    ask(opened, question)
    if not is_stored:
        expect(opened.get_by_text("Not sent. It did not reach the server.")).to_be_visible()
        expect(opened.get_by_label("Ask a question")).to_have_value("")
        assert_accessible(opened)
        opened.reload()
        opened.get_by_role("button", name="Try again").click()
    expect(answers(opened)).to_contain_text("only once")
    expect(questions(opened)).to_have_count(1)
    assert len(set(keys)) == 1
    assert scripts_of(fake_llm, question) == 1
    (session,) = api.sessions()
    assert len(api.messages(session)) == 2
    opened.reload()
    expect(answers(opened)).to_contain_text("only once")
    expect(opened.get_by_role("button", name="Try again")).to_be_hidden()


def test_connection_that_falls_silent_is_given_up(opened: Page, problems: Problems) -> None:
    problems.allow_failed_connections()
    opened.clock.install()
    opened.route("**/chat", lambda route: None, times=1)  # neither an answer nor an end, as behind a dead router
    ask(opened, "say fine")
    expect(opened.get_by_text("Sending…")).to_be_visible()
    opened.clock.fast_forward(30_000)
    expect(opened.get_by_text("Sending…")).to_be_visible()
    opened.clock.fast_forward(10_000)
    opened.clock.fast_forward(20_000)
    opened.get_by_role("button", name="Try again").click()
    expect(answers(opened)).to_contain_text("fine")
    expect(questions(opened)).to_have_count(1)


def test_refused_question_can_be_edited(opened: Page, api: Api, problems: Problems) -> None:
    problems.allow_status(503)
    opened.route("**/chat", lambda route: route.fulfill(status=503, json={"error": "too_many_streams"}), times=1)
    ask(opened, "say fine")
    expect(opened.get_by_text("Not sent. Too many answers are being written at once.")).to_be_visible()
    opened.get_by_role("button", name="Edit").click()
    composer = opened.get_by_label("Ask a question")
    expect(composer).to_have_value("say fine")
    composer.fill("say better")
    opened.get_by_role("button", name="Send", exact=True).click()
    expect(answers(opened)).to_contain_text("better")
    expect(answers(opened)).to_have_attribute("aria-busy", "false")
    (session,) = api.sessions()
    assert [message["content"] for message in api.messages(session)] == ["say better", "better"]


def test_two_tabs_read_one_answer(opened: Page, context: BrowserContext, fake_llm: FakeLlm) -> None:
    second = context.new_page()
    second.goto(opened.url)
    expect(second.get_by_text("Nothing has been asked yet.")).to_be_visible()
    ask(opened, HELD)
    for tab in (opened, second):
        expect(answers(tab)).to_contain_text("word word")
    fake_llm.release()
    for tab in (opened, second):
        expect(answers(tab)).to_contain_text("the end")
        expect(answers(tab)).to_have_count(1)
        expect(questions(tab)).to_have_count(1)
        assert answers(tab).inner_text().count("word ") == 40


def test_two_tabs_do_not_ask_at_once(opened: Page, context: BrowserContext, api: Api, problems: Problems) -> None:
    problems.allow_status(409)
    second = context.new_page()
    second.goto(opened.url)
    expect(second.get_by_text("Nothing has been asked yet.")).to_be_visible()
    second.evaluate("() => { BroadcastChannel.prototype.addEventListener = () => {}; }")
    second.get_by_label("Ask a question").fill("say second")
    ask(opened, SLOW)
    expect(answers(opened)).to_contain_text("word")
    second.evaluate("() => document.querySelector('.composer').requestSubmit()")
    expect(answers(second).first).to_contain_text("the end")


def test_page_follows_only_at_the_end(opened: Page) -> None:
    ask(opened, LONG)
    expect(answers(opened)).to_contain_text("A paragraph.")
    opened.wait_for_timeout(800)
    assert is_at_end(opened)
    scroller(opened).hover()
    opened.mouse.wheel(0, -300)
    expect(opened.get_by_role("button", name="New text")).to_be_visible()
    top = scroller(opened).evaluate("(el) => el.scrollTop")
    opened.wait_for_timeout(800)
    assert scroller(opened).evaluate("(el) => el.scrollTop") == top
    assert_accessible(opened)
    opened.get_by_role("button", name="New text").click()
    assert is_at_end(opened)
    opened.wait_for_timeout(800)
    assert is_at_end(opened)
    expect(opened.get_by_role("button", name="New text")).to_be_hidden()
