"""Searching the sessions, as one types."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.page.accessibility import assert_accessible
from tests.page.api import Api
from tests.page.session_list import Login, found, listed, row, search_field, sidebar


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
