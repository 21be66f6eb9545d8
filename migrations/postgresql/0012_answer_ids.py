"""A draft knows the id of the message that it becomes, which tells it from later ones of the same session."""


def up(migrator, db):
    db.execute_sql('ALTER TABLE drafts ADD COLUMN answer_id text COLLATE "C"')
