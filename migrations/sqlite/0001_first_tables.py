"""The first tables: users, their logins, sessions, messages and webhook runs.

A frozen copy of the models as they were; later migrations build on it, the models move on.
"""

from peewee import AutoField, Check, ForeignKeyField, IntegerField, Model, TextField


def text_check(column, shortest, longest):
    return Check(f"length({column}) BETWEEN {shortest} AND {longest} AND instr({column}, char(0)) = 0")


def time_check(column):
    return Check(f"{column} LIKE '____-__-__T__:__:__.___Z'")


def up(migrator, db):
    class Table(Model):
        class Meta:
            database = db
            legacy_table_names = False

    class User(Table):
        id = TextField(primary_key=True)
        username = TextField()
        name_key = TextField(unique=True)
        password_hash = TextField()
        created_at = TextField()

        class Meta:
            table_name = "users"
            constraints = (text_check("username", 1, 64), time_check("created_at"))

    class Login(Table):
        id = TextField(primary_key=True)
        user = ForeignKeyField(User, on_delete="CASCADE")
        refresh_id = TextField(null=True)
        created_at = TextField()
        expires_at = TextField(index=True)

        class Meta:
            table_name = "logins"
            constraints = (time_check("created_at"), time_check("expires_at"))

    class Session(Table):
        id = TextField(primary_key=True)
        user = ForeignKeyField(User, on_delete="CASCADE", null=True, index=False)
        title = TextField(null=True)
        system_prompt = TextField(null=True)
        created_at = TextField()
        updated_at = TextField()

        class Meta:
            table_name = "sessions"
            constraints = (
                text_check("title", 0, 120),
                text_check("system_prompt", 1, 8000),
                time_check("created_at"),
                time_check("updated_at"),
            )

    Session.add_index(Session.user, Session.updated_at.desc(), Session.created_at.desc(), Session.id.desc())

    class Message(Table):
        seq = AutoField()
        id = TextField(unique=True)
        session = ForeignKeyField(Session, on_delete="CASCADE")
        role = TextField()
        content = TextField()
        metadata = TextField()
        created_at = TextField()

        class Meta:
            table_name = "messages"
            constraints = (
                Check("role = 'user' OR role = 'assistant' OR role = 'system'"),
                text_check("content", 1, 50000),
                Check("metadata LIKE '{%}'"),
                time_check("created_at"),
            )

    class WebhookRun(Table):
        seq = AutoField()
        id = TextField(unique=True)
        session = ForeignKeyField(Session, on_delete="CASCADE")
        action = TextField()
        status = TextField()
        request = TextField()
        response_status = IntegerField(null=True)
        response_body = TextField(null=True)
        error = TextField(null=True)
        started_at = TextField()
        finished_at = TextField(null=True)
        duration_ms = IntegerField(null=True)

        class Meta:
            table_name = "webhook_runs"
            constraints = (
                Check("status = 'running' OR status = 'succeeded' OR status = 'failed' OR status = 'interrupted'"),
                time_check("started_at"),
                time_check("finished_at"),
            )

    db.create_tables([User, Login, Session, Message, WebhookRun])
