"""Search by the terms of search/terms.py: the index is built anew, while the service runs.

``search`` stores those terms, with spaces between them and the owner before them, under the ``seq``
of a message or the negative one of a row of ``titles``. FTS5's ``ascii`` tokenizer leaves them as
they are. It keeps a copy of them, so that a row can be replaced and taken out by its number alone,
and hits be ranked without reading the texts.

The triggers only note what has changed; search/sqlite.py does the rest. None of them
touches the index, so that nothing fails because of it.
"""

import sqlite3

SCHEMA = """
DROP TRIGGER session_made;
DROP TRIGGER session_renamed;
DROP TRIGGER session_given;
DROP TRIGGER session_gone;
DROP TRIGGER session_deleted;
DROP TABLE search;
DROP TABLE titles;
DROP TABLE search_pending;
DROP TABLE search_progress;

CREATE TABLE titles (
    seq INTEGER PRIMARY KEY,
    session_id TEXT NOT NULL UNIQUE REFERENCES sessions (id) ON DELETE CASCADE
);
CREATE TABLE search_progress (id INTEGER PRIMARY KEY CHECK (id = 1), seq INTEGER NOT NULL);
CREATE TABLE search_pending (
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    what TEXT NOT NULL CHECK (what IN ('title', 'messages')),
    done INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (session_id, what)
) WITHOUT ROWID;
CREATE INDEX search_pending_what ON search_pending (what);
CREATE TABLE search_deleted (seq INTEGER PRIMARY KEY);
CREATE VIRTUAL TABLE search USING fts5 (terms, columnsize = 0, tokenize = "ascii tokenchars '=+#'");
INSERT INTO search_progress VALUES (1, 0);
INSERT INTO search_pending (session_id, what)
    SELECT id, 'title' FROM sessions WHERE title > '' AND user_id IS NOT NULL;

CREATE TRIGGER session_made AFTER INSERT ON sessions WHEN new.user_id IS NOT NULL AND new.title > '' BEGIN
    INSERT OR IGNORE INTO search_pending (session_id, what) VALUES (new.id, 'title');
END;
CREATE TRIGGER session_renamed AFTER UPDATE OF title ON sessions WHEN new.title IS NOT old.title BEGIN
    INSERT OR IGNORE INTO search_pending (session_id, what) VALUES (new.id, 'title');
END;
CREATE TRIGGER session_given AFTER UPDATE OF user_id ON sessions
WHEN new.user_id IS NOT NULL AND new.user_id IS NOT old.user_id BEGIN
    INSERT OR REPLACE INTO search_pending (session_id, what) VALUES (new.id, 'title'), (new.id, 'messages');
END;
CREATE TRIGGER search_title_deleted AFTER DELETE ON titles BEGIN
    INSERT OR IGNORE INTO search_deleted VALUES (-old.seq);
END;
CREATE TRIGGER search_message_deleted AFTER DELETE ON messages BEGIN
    INSERT OR IGNORE INTO search_deleted VALUES (old.seq);
    -- The seq of the newest messages, once they are gone, is used again.
    UPDATE search_progress SET seq = coalesce((SELECT max(seq) FROM messages), 0)
        WHERE seq > coalesce((SELECT max(seq) FROM messages), 0);
END;
"""


def up(migrator, db):
    statement = ""
    for line in SCHEMA.strip().split("\n"):
        statement += f"{line}\n"
        if sqlite3.complete_statement(statement):
            db.execute_sql(statement)
            statement = ""
