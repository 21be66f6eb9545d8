"""Drafts have a lease: whoever streams an answer renews it, and others may ask for the end of it.

An attempt to log in is a row, so that all processes count the same ones. And an index has the webhook runs that are
going on, of which one that goes on for too long is looked for.
"""

STATEMENTS = (
    """ALTER TABLE "drafts" ADD COLUMN "saved_at" TEXT NOT NULL DEFAULT ''""",
    'ALTER TABLE "drafts" ADD COLUMN "stop_requested" INTEGER NOT NULL DEFAULT 0',
    'CREATE TABLE "login_attempts" ("id" TEXT NOT NULL PRIMARY KEY, "client" TEXT NOT NULL, "name" TEXT NOT NULL, '
    '"attempted_at" TEXT NOT NULL)',
    'CREATE INDEX "login_attempts_attempted_at" ON "login_attempts" ("attempted_at")',
    'CREATE INDEX "login_attempts_client_attempted_at" ON "login_attempts" ("client", "attempted_at")',
    """CREATE INDEX "webhook_runs_running" ON "webhook_runs" ("started_at") WHERE ("status" = 'running')""",
)


def up(migrator, db):
    for statement in STATEMENTS:
        db.execute_sql(statement)
