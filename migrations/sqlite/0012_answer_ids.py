"""A draft knows the id of the message that it becomes; and a message that is changed is indexed again."""

STATEMENTS = (
    'ALTER TABLE "drafts" ADD COLUMN "answer_id" TEXT',
    """
    CREATE TRIGGER search_message_updated AFTER UPDATE OF content ON messages BEGIN
        INSERT OR REPLACE INTO search_pending (session_id, what) VALUES (new.session_id, 'messages');
    END
    """,
)


def up(migrator, db):
    for statement in STATEMENTS:
        db.execute_sql(statement)
