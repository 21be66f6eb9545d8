"""The prompt's panel: the system prompt's editor, and what the model is sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.page.accessibility import assert_accessible
from tests.page.api import Api
from tests.page.panels import no_sideways_scroll, open_panel

Login = Callable[[Page], None]

MINE, THEIRS = "Severity 1.\nOn call: Zoë.", "Severity 2.\nOn call: Zoë."


@pytest.fixture
def session(api: Api) -> dict[str, Any]:
    return api.session("Checkout is slow")


@pytest.fixture
def panel(page: Page, login: Login, session: dict[str, Any]) -> Locator:
    login(page)
    return open_panel(page, session, "Prompt")


def editor(panel: Locator) -> Locator:
    return panel.get_by_role("textbox", name="System prompt")


def stored(api: Api, session: dict[str, Any]) -> str | None:
    prompt: str | None = api.get(f"/api/sessions/{session['id']}")["system_prompt"]
    return prompt


def store(api: Api, session: dict[str, Any], prompt: str) -> None:
    api.patch(f"/api/sessions/{session['id']}/system-prompt", {"system_prompt": prompt})


def part(panel: Locator, label: str) -> Locator:
    """Return a part of what the model is sent, by its summary."""
    return panel.get_by_role("listitem").filter(has_text=label).first


def write_question(page: Page, session: dict[str, Any], question: str) -> None:
    """Leave a question in the composer, as its draft."""
    script = """async ([place, content]) => {
      const { saveDraft } = await import("./static/core/drafts.js");
      saveDraft(place, { content, key: "k" });
    }"""
    page.evaluate(script, [session["id"], question])


@pytest.mark.parametrize("keys", ["Control+s", "Control+Enter"])
def test_prompt_is_saved_by_the_keyboard(api: Api, session: dict[str, Any], panel: Locator, keys: str) -> None:
    editor(panel).fill("Severity 2 🔥")
    expect(panel.get_by_text("Unsaved")).to_be_visible()
    expect(panel.get_by_text("12 of 8,000 characters")).to_be_visible()  # an emoji is one, as for the server
    editor(panel).press(keys)
    expect(panel.get_by_text("Unsaved")).to_be_hidden()
    assert stored(api, session) == "Severity 2 🔥"


def test_blank_prompt_clears_it(api: Api, session: dict[str, Any], panel: Locator) -> None:
    editor(panel).fill("Severity 2")
    panel.get_by_role("button", name="Save").click()
    expect(panel.get_by_text("Unsaved")).to_be_hidden()
    editor(panel).fill(" \n")
    panel.get_by_role("button", name="Save").click()
    expect(editor(panel)).to_have_value("")
    assert stored(api, session) is None


def test_prompt_over_the_limit_cannot_be_saved(api: Api, session: dict[str, Any], panel: Locator) -> None:
    editor(panel).fill("é" * 8_001)
    expect(panel.get_by_text("8,001 of 8,000 characters: too long to save")).to_be_visible()
    expect(panel.get_by_role("button", name="Save")).to_be_disabled()
    editor(panel).fill("🔥" * 8_000)
    panel.get_by_role("button", name="Save").click()
    expect(panel.get_by_text("Unsaved")).to_be_hidden()
    assert stored(api, session) == "🔥" * 8_000


def test_draft_survives_a_reload(page: Page, session: dict[str, Any], panel: Locator) -> None:
    editor(panel).fill("half a thought")
    page.reload()
    expect(editor(panel)).to_have_value("half a thought")
    expect(panel.get_by_text("Unsaved")).to_be_visible()
    panel.get_by_role("button", name="Discard").click()
    expect(editor(panel)).to_have_value("")
    page.get_by_role("button", name="Undo").click()
    expect(editor(panel)).to_have_value("half a thought")


def test_draft_survives_a_lost_connection(
    page: Page, api: Api, session: dict[str, Any], panel: Locator, problems: Any
) -> None:
    problems.allow_failed_connections()
    editor(panel).fill("Severity 2")
    page.context.set_offline(True)
    panel.get_by_role("button", name="Save").click()
    expect(panel.get_by_role("alert").first).to_contain_text("cannot be reached")
    expect(editor(panel)).to_have_value("Severity 2")
    page.context.set_offline(False)
    panel.get_by_role("button", name="Save").click()
    expect(panel.get_by_text("Unsaved")).to_be_hidden()
    assert stored(api, session) == "Severity 2"


def lose(api: Api, session: dict[str, Any], panel: Locator) -> None:
    """Save a version after somebody else has saved theirs."""
    expect(editor(panel)).to_be_visible()
    editor(panel).fill(MINE)
    store(api, session, THEIRS)
    panel.get_by_role("button", name="Save").click()
    expect(panel.get_by_role("heading", name="Somebody else has changed it meanwhile")).to_be_visible()
    expect(panel.get_by_role("group", name="Your version")).to_have_text(MINE, use_inner_text=True)
    expect(panel.get_by_role("group", name="Their version")).to_have_text(THEIRS, use_inner_text=True)
    assert stored(api, session) == THEIRS


def test_loser_of_two_editors_sees_both_versions(page: Page, api: Api, session: dict[str, Any], panel: Locator) -> None:
    lose(api, session, panel)
    expect(panel.locator("mark")).to_have_text(["Severity 1.", "Severity 2."])
    assert_accessible(page)
    panel.get_by_role("button", name="Keep mine").click()
    expect(panel.get_by_text("Unsaved")).to_be_hidden()
    assert stored(api, session) == MINE


def test_loser_takes_the_other_version_and_may_come_back(
    page: Page, api: Api, session: dict[str, Any], panel: Locator
) -> None:
    lose(api, session, panel)
    panel.get_by_role("button", name="Take theirs").click()
    expect(editor(panel)).to_have_value(THEIRS)
    page.get_by_role("button", name="Undo").click()
    expect(editor(panel)).to_have_value(MINE)
    assert stored(api, session) == THEIRS


def test_loser_merges(page: Page, api: Api, session: dict[str, Any], panel: Locator) -> None:
    lose(api, session, panel)
    panel.get_by_role("button", name="Edit a merge").click()
    expect(panel.get_by_role("group", name="Their version, to copy from")).to_have_text(THEIRS, use_inner_text=True)
    editor(panel).fill("Severity 1 or 2.")
    page.reload()
    expect(panel.get_by_role("group", name="Their version, to copy from")).to_be_visible()
    panel.get_by_role("button", name="Save").click()
    expect(panel.get_by_text("Unsaved")).to_be_hidden()
    assert stored(api, session) == "Severity 1 or 2."


def test_version_saved_elsewhere_shows_in_an_untouched_editor(
    page: Page, session: dict[str, Any], panel: Locator
) -> None:
    expect(editor(panel)).to_have_value("")
    other = page.context.new_page()
    elsewhere = open_panel(other, session, "Prompt")
    editor(elsewhere).fill(THEIRS)
    elsewhere.get_by_role("button", name="Save").click()
    expect(editor(panel)).to_have_value(THEIRS)


def test_what_the_model_is_sent(page: Page, api: Api, session: dict[str, Any], panel: Locator) -> None:
    message = api.post(f"/api/sessions/{session['id']}/messages", {"role": "assistant", "content": "Why <b>slow</b>?"})
    store(api, session, "Severity 2")
    write_question(page, session, "And the payment queue?")
    panel.get_by_role("button", name="Refresh what the model is sent").click()
    expect(panel.get_by_text("If you send your draft now")).to_be_visible()
    for label, source in [
        ("Base identity", "PARLEY_SYSTEM_PROMPT"),
        ("Your system prompt", "10 of 8,000"),
        ("Docs", "checkout.md › Payments > Payment queue"),
        ("Actions", "PARLEY_ACTIONS_FILE"),
        ("Conversation", "2 messages"),
    ]:
        expect(part(panel, label)).to_contain_text(source)
    part(panel, "Base identity").locator("summary").click()
    expect(panel.get_by_text("You are on call.")).to_be_visible()
    panel.locator("summary", has_text="Conversation").click()
    panel.locator("summary", has_text="Your next question").click()
    expect(panel.get_by_text("And the payment queue?")).to_be_visible()
    panel.locator("summary", has_text="Answer").click()
    expect(panel.get_by_text("Why <b>slow</b>?")).to_be_visible()  # text, not markup
    link = panel.get_by_role("link", name="Go to this message")
    expect(link).to_have_attribute("href", f"#/s/{session['id']}/m/{message['id']}")
    assert_accessible(page)


def test_what_is_left_out(page: Page, api: Api, login: Login) -> None:
    long = [{"role": "assistant", "content": f"{number} " + "x" * 20_000} for number in range(3)]
    session = api.imported(*long)
    login(page)
    panel = open_panel(page, session, "Prompt")
    expect(panel.get_by_text("The oldest 2 messages")).to_be_visible()
    expect(panel.get_by_text("the conversation is longer than the model is sent")).to_be_visible()


def test_question_too_long_to_preview_is_said_to_be(page: Page, session: dict[str, Any], panel: Locator) -> None:
    expect(panel.get_by_text("Base identity")).to_be_visible()
    write_question(page, session, "é" * 16_000)  # 96,000 bytes of the URL
    panel.get_by_role("button", name="Refresh what the model is sent").click()
    expect(panel.get_by_text("If you send your draft now")).to_be_visible()
    write_question(page, session, "é" * 50_000)
    panel.get_by_role("button", name="Refresh what the model is sent").click()
    expect(panel.get_by_text("too long to be previewed")).to_be_visible()


def test_prompt_fits_on_a_phone(page: Page, api: Api, session: dict[str, Any], panel: Locator) -> None:
    page.set_viewport_size({"width": 320, "height": 600})
    lose(api, session, panel)
    assert no_sideways_scroll(page)
