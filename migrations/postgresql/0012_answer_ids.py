"""A draft knows the id of the message that it becomes; and a message that is changed is indexed again."""

STATEMENTS = (
    'ALTER TABLE drafts ADD COLUMN answer_id text COLLATE "C"',
    """
    CREATE FUNCTION add_changed_message() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO search_pending (session_id, first_seq, last_seq) VALUES (new.session_id, new.seq, new.seq);
        RETURN NULL;
    END
    $$
    """,
    """
    CREATE TRIGGER message_changed AFTER UPDATE OF content ON messages
    FOR EACH ROW EXECUTE FUNCTION add_changed_message()
    """,
)


def up(migrator, db):
    for statement in STATEMENTS:
        db.execute_sql(statement)
