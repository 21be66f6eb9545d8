"""A session exported as Markdown: the document around the messages, and how it is sent."""

from __future__ import annotations

from itertools import count

from services.markdown import render
from tests.helpers.client import ApiClient, message
from tests.helpers.markdown import CREATED_AT, HEADING


def test_export_has_title_headings_and_contents(owner: ApiClient) -> None:
    session = owner.imported(
        message("Why is *checkout* slow?", created_at=CREATED_AT),
        message(
            "See:\n\n```python\nif a < b:\n    pass\n```\n", role="assistant", created_at="2026-01-31T09:30:05.123Z"
        ),
        title="Checkout <b>is</b>\nslow",
        created_at=CREATED_AT,
    )
    response = owner.get(f"/api/sessions/{session['id']}/export?format=markdown")
    assert response.content_type == "text/markdown; charset=utf-8"
    head, _, rest = response.text.partition(", exported ")
    assert head == "# Checkout &lt;b>is&lt;/b> slow\n\nBegun 2026-01-31 09:30:00 UTC"
    assert rest.partition("UTC.\n\n")[2] == (
        "## User, 2026-01-31 09:30:00 UTC\n\nWhy is *checkout* slow?\n\n"
        "## Assistant, 2026-01-31 09:30:05 UTC\n\nSee:\n\n```python\nif a < b:\n    pass\n```\n"
    )
    assert owner.get(f"/api/sessions/{session['id']}/export?format=json").get_json()["version"] == 1
    assert owner.get(f"/api/sessions/{session['id']}/export?format=html").status_code == 400
    assert owner.get(f"/api/sessions/{owner.session()['id']}/export?format=markdown").text.startswith("# Conversation")


def test_long_session_is_exported_whole(owner: ApiClient) -> None:
    session = owner.imported(*(message(f"message {number}") for number in range(300)))
    text = owner.get(f"/api/sessions/{session['id']}/export?format=markdown").text
    assert [line for line in text.split("\n") if line.startswith("message")] == [f"message {n}" for n in range(300)]


def test_message_is_sent_before_the_next_is_read() -> None:
    pieces = render(
        {"title": "x", "created_at": CREATED_AT}, (("user", f"no {number}", CREATED_AT) for number in count())
    )
    assert next(pieces).startswith(b"# x\n")
    assert [next(pieces) for _ in range(2)] == [f"\n## {HEADING}\n\nno {number}\n".encode() for number in range(2)]
