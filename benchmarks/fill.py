"""Fill a Parley database: ``python -m benchmarks.fill DATA_DIR SESSIONS MESSAGES``.

The messages are distributed over the sessions in turn, so that each session is scattered over the
file as it would be after years. The sessions belong to a hundred users.
"""

from __future__ import annotations

import sys
from pathlib import Path

import timestamps
from database import db, default_url, open_database
from ids import new_id
from models import User
from store import messages as stored_messages
from store import sessions as stored_sessions

USERS = 100
BATCH_SIZE = 50_000


def main(folder: Path, sessions: int, messages: int) -> None:
    database = open_database(default_url(folder), {"PARLEY_SQLITE_SYNCHRONOUS": "NORMAL"})
    now = timestamps.now()
    users = [new_id() for _ in range(USERS)]
    ids = [new_id() for _ in range(sessions)]
    content = "words of an older incident, " * 10
    with db.write_transaction():
        for number, user_id in enumerate(users):
            name = f"filler {number}"
            User.insert(id=user_id, username=name, name_key=name, password_hash="", created_at=now).execute()
        for number, session_id in enumerate(ids):
            values = {"id": session_id, "user_id": users[number % USERS], "title": f"Incident {number}"}
            values |= {"system_prompt": None, "external_id": None, "created_at": now, "updated_at": now}
            stored_sessions.INSERT.execute(**values)
    for start in range(0, messages, BATCH_SIZE):
        with db.write_transaction():
            stored_messages.IMPORT.execute_many(
                [
                    (new_id(), ids[number % sessions], "user", content, "{}", now)
                    for number in range(start, min(start + BATCH_SIZE, messages))
                ]
            )
        print(f"\r{start + BATCH_SIZE:,} messages", end="", flush=True)
    print()
    database.close_cleanly()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
