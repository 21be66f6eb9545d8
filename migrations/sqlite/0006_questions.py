"""Drafts know the message that they answer, so that a retried chat finds its answer."""


def up(migrator, db):
    db.execute_sql('ALTER TABLE "drafts" ADD COLUMN "question_id" TEXT')
