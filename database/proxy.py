"""The database of the running app, by whatever engine it is opened."""

from __future__ import annotations

from typing import Any

import peewee

db: Any = peewee.DatabaseProxy()
"""An ``engine.Engine``; the models are bound to it."""
