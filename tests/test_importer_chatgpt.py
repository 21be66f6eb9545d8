"""ChatGPT's conversations: the branch shown, citations, and content that is no text."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tests.helpers.client import ApiClient
from tests.helpers.documents import get_imported, import_items
from tests.helpers.foreign_exports import CREATE_TIME, gpt_conversation, gpt_node


@pytest.mark.parametrize("current", ["missing", None, "", 5])
def test_newest_leaf_is_taken_if_the_current_node_is_missing(owner: ApiClient, current: Any) -> None:
    """In every order of the nodes."""
    nodes = [
        gpt_node("q", "root", "user", "What?"),
        gpt_node("a", "q", "assistant", "Newest.", create_time=CREATE_TIME + 9),
        gpt_node("b", "q", "assistant", "Older.", create_time=CREATE_TIME + 5),
        gpt_node("c", "b", "user", "Older still.", create_time=CREATE_TIME + 7),
        gpt_node("d", "q", "assistant", "Of no time.", create_time=None),
    ]
    for order in itertools.permutations(nodes):
        (report,) = import_items(owner, gpt_conversation(*order) | {"current_node": current}, query="?duplicate=1")[
            "sessions"
        ]
        assert [each["content"] for each in get_imported(owner, report)["messages"]] == ["What?", "Newest."]
        assert report["left_out"] == {"branches": 3}


@pytest.mark.parametrize(
    ("parts", "more", "text", "left_out"),
    [
        (["It broke \ue200cite\ue202turn0search1\ue202turn0search2\ue201."], {}, "It broke .", {"citations": 1}),
        (["\ue203It broke\ue204 \ue200filecite\ue202turn0file0\ue201\ue206!"], {}, "It broke !", {"citations": 1}),
        (['At \ue200entity\ue202["company","OpenAI"]\ue201.'], {}, "At OpenAI.", {}),
        (["See \ue200url\ue202the docs\ue202https://x.y\ue201."], {}, "See the docs.", {"citations": 1}),
        (["Left \ue200open, and \ue2ff."], {}, "Left \ue200open, and \ue2ff.", {}),
        (["See 【3†source】."], {"metadata": {"citations": [{}]}}, "See .", {"citations": 1}),
        (["See 【3†source】."], {}, "See 【3†source】.", {}),
        (
            ["a", {"content_type": "image_asset_pointer"}, {"content_type": "audio_asset_pointer"}, None],
            {},
            "a",
            {"images": 1, "audio": 1},
        ),
        ([{"content_type": "audio_transcription", "text": "spoken"}], {}, "spoken", {}),
    ],
)
def test_citations_are_left_out_and_shown_texts_stay(
    owner: ApiClient, parts: Any, more: Any, text: str, left_out: Any
) -> None:
    (report,) = import_items(owner, gpt_conversation(gpt_node("a", "root", "assistant", *parts, **more)))["sessions"]
    assert [each["content"] for each in get_imported(owner, report)["messages"]] == [text]
    assert report.get("left_out", {}) == left_out


@pytest.mark.parametrize(
    ("content", "left_out"),
    [
        ({"content_type": "thoughts", "thoughts": [{"content": "x"}]}, "thoughts"),
        ({"content_type": "reasoning_recap", "content": "Thought for 5s"}, "thoughts"),
        ({"content_type": "user_editable_context", "user_profile": "x"}, "custom_instructions"),
        ({"content_type": "tether_quote", "text": "x", "url": "y"}, "browsing"),
        ({"content_type": "tether_browsing_display", "result": "x"}, "browsing"),
    ],
)
def test_content_that_is_no_text_is_counted(owner: ApiClient, content: Any, left_out: str) -> None:
    nodes = [gpt_node("q", "root", "user", "x"), gpt_node("a", "q", "assistant", content=content)]
    (report,) = import_items(owner, gpt_conversation(*nodes))["sessions"]
    assert report["left_out"] == {left_out: 1}
    assert len(get_imported(owner, report)["messages"]) == 1
