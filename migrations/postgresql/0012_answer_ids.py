"""A draft knows the id of the message that it becomes."""


def up(migrator, db):
    db.execute_sql('ALTER TABLE drafts ADD COLUMN answer_id text COLLATE "C"')
