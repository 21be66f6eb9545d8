"""Open WebUI's chats: ``<details>`` blocks of thoughts and tool calls."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.client import ApiClient
from tests.helpers.documents import get_imported, import_items


def details(kind: str, inner: str = "x", close: str = "</details>", **attributes: str) -> str:
    named = "".join(f' {name}="{value}"' for name, value in attributes.items())
    return f'<details type="{kind}" done="true"{named}>\n<summary>s</summary>\n{inner}\n{close}\n'


@pytest.mark.parametrize(
    ("content", "text", "left_out"),
    [
        (details("reasoning", "> hm") + "Answer.", "Answer.", {"thoughts": 1}),
        (
            "First.\n" + details("tool_calls", arguments="&quot;a &gt; b&quot; > c") + "Then.",
            "First.\nThen.",
            {"tool_calls": 1},
        ),
        (details("code_interpreter", "```py\n<details>\n</details>\n```") + "So.", "So.", {"tool_calls": 1}),
        (details("reasoning", "> " + details("tool_calls")) + "So.", "So.", {"thoughts": 1}),
        (details("reasoning") + details("reasoning") + "So.", "So.", {"thoughts": 2}),
        ("So.\n" + details("reasoning", "and on", close=""), "So.", {"thoughts": 1}),
        ("<details>\n<summary>s</summary>\nmine\n</details>", ..., {}),
        ('<details type="other">\nmine\n</details>', ..., {}),
        ("<details>\n" + details("reasoning") + "mine\n</details>", "<details>\nmine\n</details>", {"thoughts": 1}),
        ('Write `<details type="reasoning">` to hide it.', ..., {}),
        ("</details>\n<details", ..., {}),
    ],
)
def test_blocks_in_responses_are_left_out(owner: ApiClient, content: str, text: Any, left_out: Any) -> None:
    nodes = {"1": {"role": "user", "content": content}, "2": {"role": "assistant", "content": content, "parentId": "1"}}
    (report,) = import_items(owner, {"id": "", "history": {"messages": nodes, "currentId": "2"}})["sessions"]
    assert report.get("left_out", {}) == left_out
    user, assistant = (each["content"] for each in get_imported(owner, report)["messages"])
    assert (user, assistant) == (content, content if text is ... else text)


def test_response_of_only_blocks_is_left_out(owner: ApiClient) -> None:
    nodes = {"1": {"role": "assistant", "content": details("reasoning")}}
    (report,) = import_items(owner, {"history": {"messages": nodes, "currentId": "1"}})["sessions"]
    assert (report["status"], report["left_out"]) == ("imported", {"thoughts": 1})
    assert get_imported(owner, report)["messages"] == []
