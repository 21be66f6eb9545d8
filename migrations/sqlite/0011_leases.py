"""Drafts have a lease: whoever streams an answer renews it, and others may ask for the end of it.

An attempt to log in is a row, so that all processes count the same ones.
"""

STATEMENTS = (
    """ALTER TABLE "drafts" ADD COLUMN "saved_at" TEXT NOT NULL DEFAULT ''""",
    'ALTER TABLE "drafts" ADD COLUMN "stop_requested" INTEGER NOT NULL DEFAULT 0',
    'CREATE TABLE "login_attempts" ("id" TEXT NOT NULL PRIMARY KEY, "key" TEXT NOT NULL, "attempted_at" TEXT NOT NULL)',
    'CREATE INDEX "login_attempts_key_attempted_at" ON "login_attempts" ("key", "attempted_at")',
)


def up(migrator, db):
    for statement in STATEMENTS:
        db.execute_sql(statement)
