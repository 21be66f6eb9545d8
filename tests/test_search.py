"""Search: whatever is asked, the caller's own sessions that have the words, the best first."""

from __future__ import annotations

import random
import re
import shutil
import threading
import time
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import database
import search
from database import db
from database.sqlite import SqliteEngine, sqlite_url
from search import index
from search.terms import phrases, terms
from store import imports
from tests.helpers.client import ApiClient, message
from tests.helpers.database import query_db
from tests.helpers.process import ServerProcess, create_user


def find(caller: ApiClient, question: str, more: str = "") -> list[dict[str, Any]]:
    answer = caller.get(f"/api/sessions?q={quote(question)}{more}")
    assert answer.status_code == 200, answer.data
    items: list[dict[str, Any]] = answer.get_json()["items"]
    assert set(answer.get_json()) == {"items"}
    return items


def found(caller: ApiClient, question: str) -> list[str]:
    """Return the titles of what is found."""
    return [item["title"] for item in find(caller, question)]


def whole() -> None:
    """Hold the index against what is there: every text once, and nothing else."""
    search.update_index(60)
    texts = query_db(
        "SELECT user_id, content, seq FROM messages JOIN sessions s ON s.id = session_id WHERE user_id > ''"
    )
    texts += query_db("SELECT user_id, s.title, -t.seq FROM titles t JOIN sessions s ON s.id = t.session_id")
    wanted = {(seq, " ".join((f"={owner.replace('-', '')}", *terms(text)))) for owner, text, seq in texts}
    assert set(query_db("SELECT rowid, terms FROM search")) == wanted
    query_db("INSERT INTO search (search) VALUES ('integrity-check')")
    assert query_db("SELECT session_id FROM titles ORDER BY 1") == query_db(
        "SELECT id FROM sessions WHERE title > '' AND user_id IS NOT NULL ORDER BY 1"
    )


def test_titles_and_messages_are_searched(owner: ApiClient, other: ApiClient) -> None:
    owner.imported(message("The payment queue is full."), title="checkout")
    owner.imported(message("nothing"), message("A queue of payment, once more", role="assistant"), title="second")
    owner.imported(message("nothing"), title="Payment queue")
    other.imported(message("payment queue"), title="not mine")
    assert found(owner, "payment queue")[0] == "Payment queue"  # a title counts more
    assert set(found(owner, "payment queue")) == {"Payment queue", "checkout", "second"}
    assert found(owner, "payment zebra") == []
    assert found(owner, "checkout") == ["checkout"]
    (item,) = find(owner, "full")
    assert item["match"] == "The payment queue is <mark>full</mark>."
    assert {key: item[key] for key in item if key != "match"} == next(
        each for each in owner.get("/api/sessions").get_json()["items"] if each["id"] == item["id"]
    )
    whole()


@pytest.mark.parametrize(
    ("question", "hit"),
    [
        ("Zoe", True),
        ("ZOË", True),
        ("zoë resume", True),
        ("résumé", True),
        ("resu", True),  # the beginning of a word
        ("resu zoe", False),  # only of the last
        ("zo re", False),
        ("node-7", True),
        ("7", True),
        ("🔥", True),
        ("🔥 zoe", True),
        ("🚀", False),
        ("日本", True),
        ("Ünïcode", True),
        ("U\u0308nicode", True),  # as two characters
        ("under_score", True),
        ("score", True),
    ],
)
def test_words(owner: ApiClient, question: str, hit: bool) -> None:
    owner.imported(message("Zoë's résumé, node-7 on 🔥, 日本語 unïcode under_score"))
    assert bool(find(owner, question)) is hit


# A text, and what a person would pick out of it.
CORPUS = {
    "Zoë's résumé is naïve; Ångström, Łódź, smørrebrød": "Zoe résumé resume naive ANGSTROM lodz smorrebrod",
    "İstanbul'da ışık, ọ̀rọ̀ àti x̂ŷ": "İstanbul istanbul ışık isik ọ̀rọ̀ oro x̂ŷ xy",
    "Die Straße, GROẞE Füße; Schlüssel": "strasse Straße STRASSE große grosse fusse Schlüssel",
    "Очередь платежей переполнена: Ёлкин": "очередь ПЛАТЕЖЕЙ елкин Ёлкин",
    "Ο Σίσυφος και οι πληρωμές": "σισυφος ΣΊΣΥΦΟΣ Σίσυφος πληρωμες πληρωμές",
    "مُحَمَّد يعمل في القاهرة، محـــمود": "محمد مُحَمَّد القاهرة محمود محـــمود",
    "שָׁלוֹם לכולם, התור מלא": "שלום שָׁלוֹם התור מלא",
    "भुगतान की क़तार भरी हुई है": "भुगतान क़तार भरी",
    "สวัสดีชาวโลก คิวเต็มแล้ว": "สวัสดี ชาวโลก โลก คิวเต็ม คิว แล้ว",
    "ຄິວເຕັມແລ້ວ": "ຄິວ ເຕັມ",
    "ជំរាបសួរ​ពិភពលោក": "ពិភពលោក ជំរាបសួរ",
    "我在北京工作，支付队列已满": "北京 京 工作 我 支付队列 队列 已满 我在北京工作",
    "東京タワーでキューがいっぱい": "東京 タワー 東京タワー キュー いっぱい が",
    "ﾊﾞｽ停 データベース": "バス ﾊﾞｽ データベース ベース",
    "우리는 서울에서 일한다": "서울 서울에서 일한다 우리 울",
    "deploy🚀 done ✅ok 😀😀 👍🏽 👩‍💻 ❤️": "deploy 🚀 deploy🚀 done ✅ ok ✅ok 😀 😀😀 👍 👍🏽 👩‍💻 👩 ❤ ❤️",
    "flags 🇩🇪🇫🇷 and 🏴󠁧󠁢󠁥󠁮󠁧󠁿 🏳️‍🌈": "🇩🇪 🇫🇷 🇩🇪🇫🇷 🏴󠁧󠁢󠁥󠁮󠁧󠁿 🏳️‍🌈 🌈",
    "20°C, 5€ each: Windows® and Java™ at 3 × 4 → 12": "20 20°C C ° 5€ 5 Windows windows® Java × → 12",
    "│queue│full│\n├─────┼────┤\n│ 17 │ 3 │": "queue full │queue│full│ │ 17",
    "foo.bar.baz(snake_case, kebab-case, camelCase)": "foo foo.bar.baz bar.baz snake_case snake kebab-case camelcase",
    "C++ and C# on .NET; a+b": "C++ C# .net net a+b",
    "ERR_404 from 10.0.0.1:8080 in /var/log/x.log": "ERR_404 404 err 10.0.0.1 10.0.0.1:8080 /var/log/x.log x.log log",
    "mail root@db-7.example.com, see https://example.com/a?b=c#d": "root root@db-7.example.com db-7 example.com"
    " https://example.com/a?b=c#d a?b=c",
    "2026-01-31T09:30:00.000Z v1.2.3 sha256:9f86d081884c": "2026-01-31 09:30:00 v1.2.3 1.2.3 9f86d081884c sha256",
    "Ｆｕｌｌ　ｗｉｄｔｈ ½ Ⅷ ﬁle H₂O": "full width ½ viii file H2O h₂o",
    "blob " + "A1b2" * 2_000: "blob " + "A1b2" * 2_000,
}
CORPUS["all of it\n" * 300 + "\n".join(CORPUS)] = "ışık Σίσυφος محمد 北京 タワー 서울 👩 🇫🇷 C++ 404"


def test_every_text_is_found_by_each_word_and_by_itself(owner: ApiClient) -> None:
    ids = {text: owner.imported(message(text))["id"] for text in CORPUS}
    for text, words in CORPUS.items():
        for question in (*words.split(), words, text, text.upper(), f"  {text[:10_000]} "):
            items = {item["id"]: item["match"] for item in find(owner, question[:10_000], "&limit=200")}
            assert ids[text] in items, (text, question)
            match = items[ids[text]]
            assert "<mark>" in match, (text, question)
            plain = unescape(re.sub("</?mark>", "", match)).strip("…")
            assert plain in text
            if question in words.split():
                assert any(
                    set(terms(marked)) & set(terms(question)) for marked in re.findall("<mark>(.*?)</mark>", match)
                )


@pytest.mark.parametrize(
    "question",
    ['"', '""', "*", "queue*", '"queue', "NEAR(", "NEAR(queue, 2)", "AND", "OR NOT", "queue AND (", "owner:x",
     "text : x", "-queue", "^queue", "{a b}: c", "a + b", "\\", "'", "%", "_", ";", "--", "\u200d", "\ufe0f", "ﬀ",
     "²", "\ue000", "😀😀",
     "x" * 10_000, "queue " * 1_600, "?!." * 3_000, " ".join(str(n) for n in range(2_000)), "\t\n"],
)  # fmt: skip
def test_any_question_is_words_to_look_for(owner: ApiClient, question: str) -> None:
    owner.imported(message("the queue, and or not near"))
    assert len(find(owner, question)) <= 1
    (hit,) = find(owner, "queue")
    assert hit["match"] == "the <mark>queue</mark>, and or not near"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=40))
def test_no_question_is_an_error(owner: ApiClient, question: str) -> None:
    answer = owner.get(f"/api/sessions?q={quote(question.encode(errors='surrogatepass'))}")
    assert answer.status_code == (400 if "\0" in question else 200)


def test_what_is_refused(owner: ApiClient, anonymous: ApiClient) -> None:
    for query, key in (("x" * 10_001, "q"), ("x&limit=0", "limit"), ("x&cursor=y", "cursor")):
        answer = owner.get(f"/api/sessions?q={query}")
        assert (answer.status_code, set(answer.get_json()["details"])) == (400, {key})
    assert anonymous.get("/api/sessions?q=x").status_code == 401
    assert find(owner, "") == find(owner, "x") == []


def test_the_marks_cannot_be_confused_with_the_text(owner: ApiClient) -> None:
    text = "<mark>queue</mark> \x02queue\x03 & <b>"
    owner.imported(message(text))
    (item,) = find(owner, "queue")
    assert item["match"] == "&lt;mark&gt;<mark>queue</mark>&lt;/mark&gt; \x02<mark>queue</mark>\x03 &amp; &lt;b&gt;"
    assert unescape(re.sub("</?mark>", "", item["match"])) == text


def test_a_long_message_is_shown_by_the_piece(owner: ApiClient) -> None:
    owner.imported(message("word " * 5_000 + "zebra" + " word" * 4_000))
    (item,) = find(owner, "zebra")
    assert len(item["match"]) < 300
    assert "<mark>zebra</mark>" in item["match"]


def test_as_many_as_wanted_and_each_session_once(owner: ApiClient) -> None:
    for number in range(25):
        owner.imported(*[message("a zebra")] * 3, title=str(number))
    assert len(find(owner, "zebra")) == 20
    assert len(find(owner, "zebra", "&limit=200")) == 25
    assert len(find(owner, "zebra", "&limit=3")) == 3
    assert len({item["id"] for item in find(owner, "zebra", "&limit=200")}) == 25


@pytest.mark.parametrize(
    ("sessions", "texts", "limit"),
    [
        (230, ["zebra"] * 10, 200),
        (230, ["zebra"] * 10, 20),
        (30, ["zebra " + "a long message " * 3_300], 20),
        (12, ["zebra " * 8_000], 10),
        (25, ["nothing", "a zebr", "zebra"], 200),  # fewer than asked for: all there are
    ],
)
def test_there_are_as_many_as_asked_for(owner: ApiClient, sessions: int, texts: list[str], limit: int) -> None:
    for _ in range(sessions):
        owner.imported(*map(message, texts))
    owner.imported(message("lion"), title="zebra")
    for question in ("zebra", "zeb", "zebra zebra", "ZEBRA"):
        items = find(owner, question, f"&limit={limit}")
        assert len({item["id"] for item in items}) == len(items) == min(limit, sessions + 1)
        assert all("<mark>zebra</mark>" in item["match"] for item in items)
    assert find(owner, "zebra", f"&limit={limit}")[0]["title"] == "zebra"  # a title counts more


def test_a_session_with_much_of_it_leaves_room_for_others(owner: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    owner.imported(message("zebra"), title="old")
    owner.imported(*[message("zebra")] * 2_400, title="much")
    assert set(found(owner, "zebra")) == {"old", "much"}
    monkeypatch.setattr(search, "MAX_CANDIDATES", 100)
    assert set(found(owner, "zebra")) == {"old", "much"}


def test_it_keeps_in_step(app: Flask, owner: ApiClient, other: ApiClient) -> None:
    session = owner.session("lion")
    path = f"/api/sessions/{session['id']}"
    assert found(owner, "lion") == ["lion"]
    owner.patch(path, {"title": "tiger"})
    assert (found(owner, "lion"), found(owner, "tiger")) == ([], ["tiger"])
    owner.post(f"{path}/messages", message("a zebra"))
    assert found(owner, "zebra") == ["tiger"]
    owner.patch(f"{path}/system-prompt", {"system_prompt": "giraffe"})
    assert found(owner, "giraffe") == []
    whole()
    owner.imported(message("unseen"), title="never indexed")
    owner.delete(path)
    assert (found(owner, "zebra"), found(owner, "tiger")) == ([], [])
    whole()
    other.imported(message("a zebra"), title="theirs")
    owner.imported(message("a zebra"), title="mine")
    search.update_index(10)
    owner.delete("/api/sessions")
    whole()
    assert found(other, "zebra") == ["theirs"]
    assert app.test_cli_runner().invoke(args=["users", "remove", "other", "--yes"]).exit_code == 0
    whole()
    assert query_db("SELECT count(*) FROM titles") == [(0,)]


def test_a_deletion_of_the_newest_leaves_no_gap(owner: ApiClient) -> None:
    """What is new has the seq of what is gone."""
    for _ in range(3):
        session = owner.imported(message("zebra"), message("zebra"))
        assert len(find(owner, "zebra")) == 1
        owner.delete(f"/api/sessions/{session['id']}")
        again = owner.session()
        owner.post(f"/api/sessions/{again['id']}/messages", message("zebra, and longer"))
        assert len(find(owner, "zebra")) == 1
        whole()
        owner.delete("/api/sessions")
        whole()


def test_long_imports_are_indexed_when_they_are_whole(owner: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "IMPORT_BATCH_SIZE", 100)
    real = SqliteEngine.write_transaction

    def write_transaction(self: Any, durable: bool = True) -> Any:
        if not durable and query_db("SELECT count(*) FROM messages") == [(200,)]:
            monkeypatch.setattr(SqliteEngine, "write_transaction", real)
            search.update_index(10)  # in the middle of it
        return real(self, durable)

    monkeypatch.setattr(SqliteEngine, "write_transaction", write_transaction)
    session = owner.imported(*(message(f"zebra {number}") for number in range(450)), title="long")
    assert query_db("SELECT what FROM search_pending ORDER BY 1") == [("messages",), ("title",)]
    while query_db("SELECT done FROM search_pending WHERE what = 'messages'") == [(0,)]:
        index._index_batch()
    owner.post(f"/api/sessions/{session['id']}/messages", message("one more zebra"))
    assert found(owner, "zebra") == ["long"]
    whole()
    another = owner.imported(*(message(f"zebra {number}") for number in range(450)))
    index._index_batch()
    index._index_batch()
    owner.delete(f"/api/sessions/{another['id']}")  # half of it indexed
    whole()


def test_a_backup_has_its_index(app: Flask, owner: ApiClient, tmp_path: Path) -> None:
    for number in range(5):
        owner.imported(message(f"zebra {number}"), title=f"lion {number}")
    owner.delete(f"/api/sessions/{find(owner, 'lion')[0]['id']}")
    assert app.test_cli_runner().invoke(args=["backup", str(tmp_path / "copy.db")]).exit_code == 0
    db.close()
    database.open_database(sqlite_url(tmp_path / "copy.db"))
    whole()
    assert len(find(owner, "zebra")) == len(find(owner, "lion")) == 4


def test_a_short_beginning_is_found_however_far_back(owner: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is looked for in some of the newest texts first, and then in all."""
    owner.imported(message("xylophone 北京 old"), title="xy")
    owner.imported(*[message(f"nothing {number}") for number in range(20)], title="new")
    for scanned in (1, 2, 20, 21, 22, 1_000):
        monkeypatch.setattr(index, "MAX_SCANNED", scanned)
        for question in ("x", "xy", "old x", "北", "北 old", "京 xy"):
            (item,) = find(owner, question)
            assert item["title"] == "xy"
        assert set(found(owner, "n")) == {"new"}


def test_a_session_that_loses_its_owner_goes_in_steps(owner: ApiClient, other: ApiClient) -> None:
    """Nobody finds it from then on, and nothing of it stays."""
    session = owner.imported(*(message(f"zebra {number}") for number in range(20)), title="lion")
    kept = owner.imported(message("zebra"), title="kept")
    search.update_index(10)
    query_db("UPDATE sessions SET user_id = NULL WHERE id = ?", session["id"])
    assert found(owner, "zebra") == ["kept"]
    query_db("DELETE FROM messages WHERE session_id = ? AND seq % 3 = 0", session["id"])
    assert found(owner, "zebra") == ["kept"]
    query_db("DELETE FROM sessions WHERE user_id IS NULL")
    whole()
    query_db("UPDATE sessions SET user_id = ? WHERE id = ?", other.user_id, kept["id"])
    assert (found(owner, "zebra"), found(other, "zebra"), found(other, "kept")) == ([], ["kept"], ["kept"])
    whole()


def test_it_keeps_in_step_with_whatever_happens_while_it_reads(
    owner: ApiClient, other: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Texts are read and split outside the transaction that stores them: others write in between."""
    chance = random.Random(1)
    monkeypatch.setattr(index, "BATCH_ROWS", 7)
    monkeypatch.setattr(imports, "IMPORT_BATCH_SIZE", 10)
    read = index._read

    def act() -> None:
        caller = chance.choice((owner, other))
        sessions = caller.get("/api/sessions").get_json()["items"]
        path = f"/api/sessions/{chance.choice(sessions)['id']}" if sessions else ""
        kind = chance.randrange(6)
        if kind == 0 or not sessions:
            caller.imported(*[message("zebra 北京")] * chance.choice((1, 5, 25)), title=chance.choice(("", "lion")))
        elif kind == 1:
            caller.delete(path)
        elif kind == 2:
            caller.patch(path, {"title": f"tiger {chance.random()}"})
        elif kind == 3:
            newest = query_db("SELECT session_id FROM messages ORDER BY seq DESC LIMIT 1")
            query_db("DELETE FROM sessions WHERE id = ?", newest[0][0] if newest else "")
        else:
            caller.post(f"{path}/messages", message(f"zebra {chance.random()}"))

    def reading(*values: Any) -> Any:
        found = read(*values)
        for _ in range(chance.choice((0, 0, 1, 2))):
            act()
        return found

    for _ in range(12):
        monkeypatch.setattr(index, "_read", reading)
        for _ in range(12):
            act()
            if chance.random() < 0.7:
                index._index_batch()
        monkeypatch.setattr(index, "_read", read)
        whole()


def test_a_broken_index_hurts_nothing_but_the_search(owner: ApiClient) -> None:
    session = owner.imported(message("a zebra"), title="lion")
    gone = owner.imported(message("a zebra"))
    assert len(find(owner, "zebra")) == 2
    query_db("UPDATE search_data SET block = x'00112233445566778899'")
    db.close()
    db.connect()
    path = f"/api/sessions/{session['id']}"
    assert owner.post(f"{path}/messages", message("a zebra")).status_code == 201
    assert owner.patch(path, {"title": "tiger"}).status_code == 200
    assert owner.delete(f"/api/sessions/{gone['id']}").status_code == 204
    owner.imported(message("a zebra"))
    search.update_index(1)
    answer = owner.get("/api/sessions?q=zebra")
    assert (answer.status_code, answer.get_json()["error"]) == (503, "database_unavailable")
    assert owner.get(path).get_json()["title"] == "tiger"
    assert owner.delete("/api/sessions").get_json() == {"deleted": 2}


def test_an_index_of_words_becomes_one_of_terms(app: Flask, tmp_path: Path) -> None:
    """A database from before, with texts that were indexed and such that were not, one without an owner."""
    db.close()
    old = tmp_path / "old"
    shutil.copytree(database.MIGRATIONS, old / "migrations", ignore=shutil.ignore_patterns("__*", "000[789]_*", "001*"))
    path = old / "parley.db"
    path.touch()
    before = SqliteEngine(path)
    db.initialize(before)
    before.connect()
    database.migrate(before, old / "migrations")
    moment = "2026-01-01T00:00:00.000Z"
    query_db("INSERT INTO users VALUES ('u-1', 'owner', 'owner', '', ?)", moment)
    for session, user in (("a", "u-1"), ("b", None), ("c", "u-1")):
        query_db("INSERT INTO sessions (id, user_id, title, created_at, updated_at) VALUES (?, ?, 'lion', ?, ?)",
             session, user, moment, moment)  # fmt: skip
        query_db("INSERT INTO messages (id, session_id, role, content, metadata, created_at) "
             "VALUES (?, ?, 'user', '我在北京 deploy🚀', '{}', ?)", session, session, moment)  # fmt: skip
    query_db("INSERT INTO search (rowid, owner, text) SELECT seq, 'u1', content FROM messages WHERE session_id = 'a'")
    query_db("UPDATE search_progress SET seq = 1")
    before.close()
    database.open_database(sqlite_url(path))
    whole()
    for question in ("北京", "deploy", "🚀", "lion"):
        assert {item["id"] for item in search.search("u-1", question, 20)} == {"a", "c"}
    query_db("UPDATE sessions SET user_id = 'u-1' WHERE id = 'b'")
    assert {item["id"] for item in search.search("u-1", "京", 20)} == {"a", "b", "c"}
    query_db("DELETE FROM users")
    whole()
    assert query_db("SELECT count(*) FROM search") == [(0,)]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=60))
def test_any_text_is_found_by_itself(owner: ApiClient, text: str) -> None:
    owner.delete("/api/sessions")
    owner.imported(message(text))
    for question in (text, *text.split()):
        assert len(find(owner, question)) == bool(phrases(question)), question


@pytest.mark.slow
def test_one_users_long_texts_hold_nobody_and_survive_a_kill(tmp_path: Path) -> None:
    """A user imports and searches what is dear to split, another goes on; the process is killed meanwhile."""
    data = tmp_path / "data"
    mine, theirs = (create_user(data, name) for name in ("alice", "bob"))
    chance = random.Random(1)
    han = "".join(chr(0x4E00 + chance.randrange(5_000)) for _ in range(25_000)) + " zebra 北京 " + "word " * 4_000

    def load(server: ServerProcess, done: threading.Event) -> None:
        document = {"version": 1, "session": {"title": "long"}, "messages": [message(han)] * 5}
        for _ in range(30):
            assert server.request("POST", "/api/sessions/import", document, mine)[0] == 201
        while len(server.request("GET", "/api/sessions?q=zebra&limit=200", token=mine)[1]["items"]) < 30:
            pass
        done.set()

    with ServerProcess(data) as server:
        session = server.request("POST", "/api/sessions", token=theirs)[1]["id"]
        done = threading.Event()
        loader = threading.Thread(target=load, args=(server, done))
        loader.start()
        waits = []
        while not done.is_set():
            for method, body in (("GET", None), ("POST", message())):
                began = time.monotonic()
                path = f"/api/sessions/{session}" + ("/messages" if body else "")
                assert server.request(method, path, body, theirs)[0] in (200, 201)
                waits.append(time.monotonic() - began)
            time.sleep(0.01)
        loader.join()
        assert sorted(waits)[len(waits) * 9 // 10] < 0.5, sorted(waits)[-10:]
        assert max(waits) < 3, sorted(waits)[-10:]
        assert server.request("DELETE", "/api/sessions", token=mine)[1] == {"deleted": 30}
        document = {"version": 1, "session": {}, "messages": [message("a lion")] * 20_000}
        assert server.request("POST", "/api/sessions/import", document, mine)[0] == 201
        time.sleep(0.6)
        server.process.kill()
    with ServerProcess(data) as server:
        deadline = time.monotonic() + 60
        while not server.request("GET", "/api/sessions?q=lion", token=mine)[1]["items"]:
            assert time.monotonic() < deadline
        assert server.request("GET", "/api/sessions?q=zebra", token=mine)[1]["items"] == []
        assert server.stop() == 0
    database.open_database(sqlite_url(data / "parley.db"))
    whole()
    db.close()
