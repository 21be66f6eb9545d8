"""Drafts know the answer that they replace: a question may be asked again."""


def up(migrator, db):
    db.execute_sql('ALTER TABLE "drafts" ADD COLUMN "replaced_id" TEXT')
