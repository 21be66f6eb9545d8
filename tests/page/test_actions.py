"""The panel of actions: choose, fill in, fire, never twice."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.helpers.webhook_receiver import WebhookReceiver
from tests.page.accessibility import assert_accessible
from tests.page.api import Api
from tests.page.panels import no_sideways_scroll, open_panel
from tests.page.problems import Problems

Login = Callable[[Page], None]


@pytest.fixture
def session(api: Api) -> dict[str, Any]:
    return api.session("Checkout is slow")


@pytest.fixture
def panel(page: Page, login: Login, session: dict[str, Any]) -> Locator:
    login(page)
    return open_panel(page, session, "Actions")


@pytest.fixture
def deploy(panel: Locator) -> Locator:
    """The form of the action that takes all kinds of input."""
    return choose(panel, "deploy")


@pytest.fixture
def held(receiver: WebhookReceiver) -> Iterator[WebhookReceiver]:
    """A receiver that answers calls of the action ``held`` when the test lets it."""
    receiver.release.clear()
    yield receiver
    receiver.release.set()


def choose(panel: Locator, name: str) -> Locator:
    panel.get_by_role("button", name=name, exact=True).click()
    return panel.get_by_role("form", name=name)


def fire(form: Locator) -> None:
    form.get_by_role("button", name="Fire").click()


def runs(api: Api, session: dict[str, Any]) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = api.get(f"/api/sessions/{session['id']}/webhook-runs")["items"]
    return items


def inputs(api: Api, session: dict[str, Any]) -> list[Any]:
    return [run["request"]["data"]["input"] for run in runs(api, session)]


def lose_answer(page: Page) -> None:
    """Let the next call reach the server, but not its answer the page."""

    def lose(route: Route) -> None:
        route.fetch()
        route.abort("connectionreset")

    page.route(re.compile("/actions/"), lose, times=1)


def test_form_fires_what_is_filled_in(page: Page, api: Api, session: dict[str, Any], deploy: Locator) -> None:
    expect(deploy.get_by_label("Copies")).to_have_value("2")  # the default
    assert_accessible(page)
    deploy.get_by_label("service").fill("checkout")
    deploy.get_by_label("level").select_option("high")
    deploy.get_by_label("ratio").fill("0.5")
    deploy.get_by_label("dry").select_option("No")
    deploy.get_by_label("code").fill("🔥🔥")
    deploy.get_by_label("reason").fill("one\ntwo")
    deploy.get_by_label("hosts").fill("a 1\nb\n")
    deploy.get_by_label("Tue").check()
    deploy.get_by_label("Mon").check()
    deploy.get_by_label("extra").fill('["x"]')
    deploy.get_by_label("start").fill("now")
    deploy.get_by_label("minutes").fill("30")
    fire(deploy)
    expect(page.get_by_role("article", name="deploy: Succeeded")).to_be_visible()
    assert inputs(api, session) == [
        {
            "service": "checkout",
            "level": "high",
            "replicas": 2,
            "ratio": 0.5,
            "dry": False,
            "code": "🔥🔥",
            "reason": "one\ntwo",
            "hosts": ["a 1", "b"],
            "days": ["Mon", "Tue"],
            "extra": ["x"],
            "window": {"start": "now", "minutes": 30},
        }
    ]
    expect(deploy.get_by_label("service")).to_have_value("")


def test_what_is_left_blank_is_left_out(page: Page, api: Api, session: dict[str, Any], deploy: Locator) -> None:
    deploy.get_by_label("service").fill("checkout")
    deploy.get_by_label("level").select_option("low")
    deploy.get_by_label("level").press("Control+Enter")
    expect(page.get_by_role("article", name="deploy: Succeeded")).to_be_visible()
    assert inputs(api, session) == [{"service": "checkout", "level": "low", "replicas": 2}]


@pytest.mark.parametrize(
    ("label", "text", "error"),
    [
        ("service", "", "Fill this in."),
        ("service", "Checkout!", "Does not match the pattern ^[a-z-]+$"),
        ("Copies", "0", "At least 1."),
        ("Copies", "10", "At most 9."),
        ("Copies", "1.5", "Not a whole number."),
        ("ratio", "1", "Less than 1."),
        ("ratio", "half", "Not a number; write 1.5, for example."),
        ("code", "a", "At least 2 characters; it has 1."),
        ("code", "🔥🔥🔥🔥🔥🔥", "At most 5 characters; it has 6."),
        ("hosts", "a\nb\nc", "At most 2; there are 3."),
        ("extra", "{", "Not JSON"),
        ("minutes", "30", "Fill this in."),  # of the window's start
    ],
)
def test_wrong_field_has_the_focus_and_says_why(
    page: Page, api: Api, session: dict[str, Any], deploy: Locator, label: str, text: str, error: str
) -> None:
    deploy.get_by_label("service").fill("checkout")
    deploy.get_by_label("level").select_option("low")
    deploy.get_by_label(label).fill(text)
    fire(deploy)
    wrong = "start" if label == "minutes" else label
    expect(deploy.get_by_label(wrong)).to_be_focused()
    expect(deploy.get_by_label(wrong)).to_have_accessible_description(re.compile(re.escape(error)))
    expect(deploy.locator("[aria-invalid=true]")).to_have_count(1)
    assert runs(api, session) == []


def test_servers_refusal_is_at_its_field(
    page: Page, api: Api, session: dict[str, Any], deploy: Locator, problems: Problems
) -> None:
    problems.allow_status(400)
    deploy.get_by_label("service").fill("checkout")
    deploy.get_by_label("level").select_option("low")
    deploy.get_by_label("extra").fill("1")  # of no type that the schema allows: the page cannot know
    fire(deploy)
    expect(deploy.get_by_label("extra")).to_be_focused()
    expect(deploy.get_by_label("extra")).to_have_accessible_description(re.compile("not valid under any"))
    expect(deploy.get_by_label("service")).to_have_value("checkout")
    assert_accessible(page)
    assert runs(api, session) == []


def test_action_without_a_form_takes_json(
    page: Page, api: Api, session: dict[str, Any], panel: Locator, problems: Problems
) -> None:
    problems.allow_status(400)
    form = choose(panel, "complex")
    form.get_by_label("Input").fill("[1]")
    fire(form)
    expect(form.get_by_label("Input")).to_have_accessible_description(re.compile("has to be an object"))
    form.get_by_label("Input").fill("{}")
    fire(form)
    expect(form.get_by_label("Input")).to_have_accessible_description(re.compile("not valid under any"))
    form.get_by_label("Input").fill('{"a": {"b": [null]}}')
    fire(form)
    expect(page.get_by_role("article", name="complex: Succeeded")).to_be_visible()
    assert inputs(api, session) == [{"a": {"b": [None]}}]


def test_form_turns_into_json_and_back(deploy: Locator) -> None:
    deploy.get_by_label("service").fill("checkout")
    deploy.get_by_role("button", name="Edit as JSON").click()
    expect(deploy.get_by_label("Input")).to_have_value('{\n  "service": "checkout",\n  "replicas": 2\n}')
    deploy.get_by_label("Input").fill('{"service": "checkout", "more": 1}')
    deploy.get_by_role("button", name="Edit as a form").click()
    expect(deploy.get_by_text("The form cannot show all of this")).to_be_visible()
    deploy.get_by_label("Input").fill('{"service": "search", "days": ["Tue"]}')
    deploy.get_by_role("button", name="Edit as a form").click()
    expect(deploy.get_by_label("service")).to_have_value("search")
    expect(deploy.get_by_label("Tue")).to_be_checked()


def test_run_shows_at_once_and_its_outcome_when_it_is_there(
    page: Page, api: Api, session: dict[str, Any], panel: Locator, held: WebhookReceiver
) -> None:
    fire(choose(panel, "held"))
    expect(page.get_by_role("article", name="held: Running…")).to_have_count(1)
    held.wait_for_call()
    other = page.context.new_page()  # which polls
    open_panel(other, session, "Actions")
    expect(other.get_by_role("article", name="held: Running…")).to_be_visible()
    held.release.set()
    run = page.get_by_role("article", name="held: Succeeded")
    run.get_by_text("Answer").click()
    expect(run.get_by_role("group", name="Answer")).to_have_text("well")
    expect(other.get_by_role("article", name="held: Succeeded")).to_be_visible()
    expect(page.get_by_role("article")).to_have_count(1)


def test_firing_by_keyboard_keeps_the_focus(page: Page, panel: Locator) -> None:
    button = choose(panel, "restart").get_by_role("button", name="Fire")
    button.press("Enter")
    expect(page.get_by_role("article", name="restart: Succeeded")).to_be_visible()
    expect(button).to_be_focused()


def test_failed_run_says_why(page: Page, panel: Locator, held: WebhookReceiver) -> None:
    fire(choose(panel, "unstable"))
    expect(page.get_by_role("article", name="unstable: Failed")).to_contain_text("HTTP 500, the webhook refused")
    fire(choose(panel, "slow"))
    expect(page.get_by_role("article", name="slow: Failed")).to_contain_text("the webhook took too long")
    assert_accessible(page)


def test_trying_again_after_a_lost_answer_fires_once(
    page: Page, api: Api, session: dict[str, Any], panel: Locator, receiver: WebhookReceiver, problems: Problems
) -> None:
    problems.allow_failed_connections()
    form = choose(panel, "restart")
    lose_answer(page)
    fire(form)
    expect(page.get_by_text("It may have been fired or not. Trying again cannot fire it twice.")).to_be_visible()
    expect(form.get_by_role("button", name="Fire")).to_be_disabled()
    assert_accessible(page)
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("article", name="restart: Succeeded")).to_have_count(1)
    expect(form.get_by_role("button", name="Fire")).to_be_enabled()
    assert len(runs(api, session)) == len(receiver.received) == 1


def test_reload_keeps_what_was_fired_and_its_key(
    page: Page, api: Api, session: dict[str, Any], deploy: Locator, receiver: WebhookReceiver, problems: Problems
) -> None:
    problems.allow_failed_connections()
    deploy.get_by_label("service").fill("checkout")
    deploy.get_by_label("level").select_option("low")
    lose_answer(page)
    fire(deploy)
    expect(page.get_by_text("No answer came")).to_be_visible()
    page.reload()
    expect(page.get_by_role("button", name="deploy Draft")).to_be_visible()
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("article", name="deploy: Succeeded")).to_have_count(1)
    assert len(runs(api, session)) == len(receiver.received) == 1


def test_fired_while_offline_is_not_lost(
    page: Page, api: Api, session: dict[str, Any], panel: Locator, problems: Problems
) -> None:
    problems.allow_failed_connections()
    form = choose(panel, "restart")
    page.context.set_offline(True)
    fire(form)
    expect(page.get_by_text("No answer came")).to_be_visible()
    page.context.set_offline(False)
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("article", name="restart: Succeeded")).to_have_count(1)
    assert len(runs(api, session)) == 1


def test_too_many_calls_are_not_fired(page: Page, panel: Locator, problems: Problems) -> None:
    problems.allow_status(429)
    busy = {"status": 429, "content_type": "application/json", "body": '{"error": "rate_limited"}'}
    page.route(re.compile("/actions/"), lambda route: route.fulfill(**busy), times=1)
    form = choose(panel, "restart")
    fire(form)
    expect(form.get_by_role("alert")).to_contain_text("Nothing has been fired; try again in a moment.")
    fire(form)
    expect(page.get_by_role("article", name="restart: Succeeded")).to_be_visible()


def test_interrupted_run_asks_to_look_first(page: Page, api: Api, session: dict[str, Any], login: Login) -> None:
    api.post(f"/api/sessions/{session['id']}/actions/restart")
    run = {**runs(api, session)[0], "status": "interrupted", "response_status": None, "response_body": None}
    page.route(re.compile("/webhook-runs"), lambda route: route.fulfill(json={"items": [run]}))
    login(page)
    panel = open_panel(page, session, "Actions")
    expect(panel.get_by_text("Unknown: look first before firing again")).to_be_visible()


def test_draft_of_a_form_survives_a_reload(page: Page, deploy: Locator) -> None:
    deploy.get_by_label("service").fill("check")
    page.reload()
    page.get_by_role("button", name="deploy Draft").click()
    expect(deploy.get_by_label("service")).to_have_value("check")


def test_fire_again_fills_the_form_and_keeps_what_was_there(
    page: Page, api: Api, session: dict[str, Any], deploy: Locator
) -> None:
    deploy.get_by_label("service").fill("checkout")
    deploy.get_by_label("level").select_option("low")
    fire(deploy)
    page.get_by_role("button", name="Fire deploy again…").click()
    expect(deploy.get_by_label("service")).to_have_value("checkout")
    deploy.get_by_label("service").fill("typed since")
    page.get_by_role("button", name="Fire deploy again…").click()
    expect(deploy.get_by_label("service")).to_have_value("checkout")
    page.get_by_role("button", name="Put back what was there").click()
    expect(deploy.get_by_label("service")).to_have_value("typed since")
    assert len(runs(api, session)) == 1


def test_answer_of_a_webhook_is_text(page: Page, api: Api, session: dict[str, Any], login: Login) -> None:
    api.post(f"/api/sessions/{session['id']}/actions/restart")
    hostile = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    run = {**runs(api, session)[0], "response_body": hostile, "action": hostile}
    page.route(re.compile("/webhook-runs"), lambda route: route.fulfill(json={"items": [run]}))
    login(page)
    panel = open_panel(page, session, "Actions")
    panel.get_by_text("Answer").click()
    expect(panel.get_by_role("group", name="Answer")).to_have_text(hostile)
    expect(panel.locator("img, script")).to_have_count(0)


def test_actions_fit_on_a_phone(page: Page, deploy: Locator) -> None:
    page.set_viewport_size({"width": 320, "height": 600})
    fire(deploy)
    assert no_sideways_scroll(page)


def test_without_actions_nothing_of_them_shows(page: Page, api: Api, session: dict[str, Any], login: Login) -> None:
    about = {**api.get("/api/about"), "actions": 0}
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    page.route(re.compile("/api/about"), lambda route: route.fulfill(json=about))
    api.post(f"/api/sessions/{session['id']}/actions/restart")
    login(page)
    panel = open_panel(page, session, "Timeline")
    expect(panel.get_by_role("article", name="restart: Succeeded")).to_be_visible()
    expect(panel.get_by_role("button", name="Fire restart again…")).to_be_hidden()
    expect(page.get_by_role("link", name="Actions")).to_be_hidden()
    assert not [url for url in requested if url.endswith("/api/actions")]
