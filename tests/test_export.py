"""The export document: its keys, and how a long one is sent."""

from __future__ import annotations

import pytest

from services import documents
from store import entries
from tests.helpers.client import ApiClient, message
from tests.helpers.round_trip import export_session

KEYS_DIFFER = (
    "The keys of the export document are a contract. If the change is intended, change them here and in docs/api.md, "
    "and let an import accept them (schemas.py); otherwise exclude the field in the schema of the export"
)


def test_document_has_exactly_its_keys(owner: ApiClient) -> None:
    session = owner.imported(message(metadata={"model": "m"}), title="t")
    owner.patch(f"/api/sessions/{session['id']}/system-prompt", {"system_prompt": "not in it"})
    document = export_session(owner, session["id"])
    assert list(document) == ["version", "exported_at", "session", "messages"]
    assert list(document["session"]) == ["id", "title", "created_at", "updated_at"], KEYS_DIFFER
    assert list(document["messages"][0]) == ["id", "session_id", "role", "content", "metadata", "created_at"], (
        KEYS_DIFFER
    )
    assert document["version"] == 1
    assert document["messages"] == owner.get(f"/api/sessions/{session['id']}").get_json()["messages"]


def test_long_conversation_is_the_same_when_streamed(owner: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    session = owner.imported(*(message(f"message {n}") for n in range(2 * entries.READ_PAGE_SIZE + 1)))
    whole = [owner.get(f"/api/sessions/{session['id']}{path}").get_json() for path in ("", "/export")]
    assert [each["content"] for each in whole[0]["messages"]] == [
        f"message {n}" for n in range(2 * entries.READ_PAGE_SIZE + 1)
    ]
    monkeypatch.setattr(documents, "MAX_WHOLE_BYTES", 1_000)
    pages = [owner.get(f"/api/sessions/{session['id']}{path}").get_json() for path in ("", "/export")]
    whole[1].pop("exported_at"), pages[1].pop("exported_at")
    assert pages == whole


def test_deletion_during_a_stream_breaks_it_off(owner: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    session = owner.imported(*(message(f"message {n}") for n in range(entries.READ_PAGE_SIZE + 1)))
    monkeypatch.setattr(documents, "MAX_WHOLE_BYTES", 1_000)
    _, pieces = documents.export_document(str(owner.user_id), session["id"])
    assert not isinstance(pieces, bytes)
    owner.delete(f"/api/sessions/{session['id']}")
    with pytest.raises(entries.DeletedDuringRead):
        list(pieces)
