"""Renaming in place, also of what somebody else has renamed."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.page.accessibility import assert_accessible
from tests.page.api import Api
from tests.page.problems import Problems
from tests.page.session_list import Login, editor, fail, row, titles


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
