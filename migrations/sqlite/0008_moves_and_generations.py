"""Moves and generations: what pages of sessions and their deletion in small steps need.

``moves`` has, for a day, from where to where each session has moved in its owner's list. A session
is its owner's while it is of the owner's generation, so that one number deletes all of them; the
rows go in small steps.
"""

STATEMENTS = (
    'ALTER TABLE "users" ADD COLUMN "generation" INTEGER DEFAULT 0',
    'ALTER TABLE "sessions" ADD COLUMN "generation" INTEGER NOT NULL DEFAULT 0',
    'DROP INDEX "sessions_user_id_updated_at_created_at_id"',
    'CREATE INDEX "sessions_user_id_generation_updated_at_created_at_id" ON "sessions" '
    '("user_id", "generation", "updated_at" DESC, "created_at" DESC, "id" DESC)',
    'CREATE TABLE "moves" ("user_id" TEXT NOT NULL, "seq" INTEGER NOT NULL, "session_id" TEXT NOT NULL, '
    '"old_updated_at" TEXT NOT NULL, "new_updated_at" TEXT NOT NULL, PRIMARY KEY ("user_id", "seq")) WITHOUT ROWID',
    """
    CREATE TRIGGER session_moved AFTER UPDATE OF updated_at ON sessions
    WHEN new.updated_at <> old.updated_at AND new.user_id IS NOT NULL BEGIN
        INSERT INTO moves VALUES (
            new.user_id, coalesce((SELECT max(seq) FROM moves WHERE user_id = new.user_id), 0) + 1,
            new.id, old.updated_at, new.updated_at
        );
    END
    """,
)


def up(migrator, db):
    for statement in STATEMENTS:
        db.execute_sql(statement)
