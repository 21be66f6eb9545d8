"""Logins know the refresh tokens that were rotated lately: using one of them again is a race, not a theft."""


def up(migrator, db):
    db.execute_sql("""ALTER TABLE "logins" ADD COLUMN "rotated" TEXT NOT NULL DEFAULT '{}'""")
