"""An index has the long entries of a session, so that a page of it is ended in time without looking at the others."""

STATEMENTS = (
    """
    CREATE INDEX "messages_long" ON "messages" ("session_id", "seq")
    WHERE ((length("content") + length("metadata")) > 16384)
    """,
    """CREATE INDEX "webhook_runs_long" ON "webhook_runs" ("session_id", "seq") WHERE (length("request") > 16384)""",
)


def up(migrator, db):
    for statement in STATEMENTS:
        db.execute_sql(statement)
