"""Origins: of an imported session, the id that it had where it comes from."""


def up(migrator, db):
    db.execute_sql('ALTER TABLE "sessions" ADD COLUMN "origin" TEXT')
    db.execute_sql('CREATE INDEX "sessions_user_id_origin" ON "sessions" ("user_id", "origin")')
