"""An index has the short responses stored under keys, those of chats among them, which the end of a chat replaces."""


def up(migrator, db):
    db.execute_sql('CREATE INDEX "retries_short" ON "retries" ("user_id", "answer") WHERE (length("answer") <= 256)')
