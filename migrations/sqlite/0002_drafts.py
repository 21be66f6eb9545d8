"""Drafts: what has come so far of an answer that a model is giving.

A frozen copy of the model as it was.
"""

from peewee import Check, ForeignKeyField, Model, TextField


def up(migrator, db):
    class Session(Model):
        id = TextField(primary_key=True)

        class Meta:
            database = db
            table_name = "sessions"

    class Draft(Model):
        session = ForeignKeyField(Session, primary_key=True, on_delete="CASCADE")
        content = TextField()
        model = TextField(null=True)

        class Meta:
            database = db
            legacy_table_names = False
            table_name = "drafts"
            constraints = (Check("length(content) BETWEEN 0 AND 50000 AND instr(content, char(0)) = 0"),)

    db.create_tables([Draft])
