"""Search: an index of words, of whom they are, and what is still to be put into it.

``search`` is FTS5 without a copy of the texts (https://sqlite.org/fts5.html#contentless_tables):
its rowid is the ``seq`` of a message, or the negative one of a row of ``titles``. What is new is
put in by search/sqlite.py, from what the triggers note here; what goes is taken out by them.
"""

import sqlite3

SCHEMA = """
CREATE TABLE titles (
    seq INTEGER PRIMARY KEY,
    session_id TEXT NOT NULL UNIQUE REFERENCES sessions (id) ON DELETE CASCADE,
    title TEXT NOT NULL
);
CREATE TABLE search_progress (id INTEGER PRIMARY KEY CHECK (id = 1), seq INTEGER NOT NULL);
CREATE TABLE search_pending (
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    what TEXT NOT NULL CHECK (what IN ('title', 'messages')),
    done INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (session_id, what)
) WITHOUT ROWID;
CREATE VIRTUAL TABLE search USING fts5 (
    owner, text, content = '', tokenize = "unicode61 remove_diacritics 2 categories 'L* N* Co So'"
);
INSERT INTO search_progress VALUES (1, 0);
INSERT INTO search_pending (session_id, what)
    SELECT id, 'title' FROM sessions WHERE title IS NOT NULL AND user_id IS NOT NULL;

CREATE TRIGGER session_made AFTER INSERT ON sessions WHEN new.user_id IS NOT NULL AND new.title IS NOT NULL BEGIN
    INSERT OR IGNORE INTO search_pending (session_id, what) VALUES (new.id, 'title');
END;
CREATE TRIGGER session_renamed AFTER UPDATE OF title ON sessions WHEN new.title IS NOT old.title BEGIN
    INSERT OR IGNORE INTO search_pending (session_id, what) VALUES (new.id, 'title');
END;
CREATE TRIGGER session_given AFTER UPDATE OF user_id ON sessions WHEN old.user_id IS NULL BEGIN
    INSERT OR IGNORE INTO search_pending (session_id, what) VALUES (new.id, 'title'), (new.id, 'messages');
END;
CREATE TRIGGER session_gone AFTER DELETE ON sessions BEGIN
    -- The seq of the newest messages, once they are gone, is used again.
    UPDATE search_progress SET seq = min(seq, coalesce((SELECT max(seq) FROM messages), 0));
END;
CREATE TRIGGER session_deleted BEFORE DELETE ON sessions WHEN old.user_id IS NOT NULL BEGIN
    INSERT INTO search (search, rowid, owner, text)
        SELECT 'delete', seq, replace(old.user_id, '-', ''), content FROM messages
        WHERE session_id = old.id AND seq <= coalesce(
            (SELECT done FROM search_pending WHERE session_id = old.id AND what = 'messages'),
            (SELECT seq FROM search_progress)
        );
    INSERT INTO search (search, rowid, owner, text)
        SELECT 'delete', -seq, replace(old.user_id, '-', ''), title FROM titles WHERE session_id = old.id;
END;
"""


def up(migrator, db):
    statement = ""
    for line in SCHEMA.strip().split("\n"):
        statement += f"{line}\n"
        if sqlite3.complete_statement(statement):
            db.execute_sql(statement)
            statement = ""
