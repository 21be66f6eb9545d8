"""Retries: the answers to requests that had an Idempotency-Key, for a day.

A frozen copy of the model as it was.
"""

from peewee import Check, CompositeKey, ForeignKeyField, Model, TextField


def up(migrator, db):
    class User(Model):
        id = TextField(primary_key=True)

        class Meta:
            database = db
            table_name = "users"

    class Retry(Model):
        user = ForeignKeyField(User, on_delete="CASCADE", index=False)
        key = TextField()
        fingerprint = TextField()
        answer = TextField()
        created_at = TextField(index=True)

        class Meta:
            database = db
            legacy_table_names = False
            table_name = "retries"
            primary_key = CompositeKey("user", "key")
            constraints = (Check("created_at LIKE '____-__-__T__:__:__.___Z'"),)

    db.create_tables([Retry])
