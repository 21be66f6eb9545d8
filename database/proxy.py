"""The database of the running app, whatever its engine."""

from __future__ import annotations

from typing import Any

import peewee

db: Any = peewee.DatabaseProxy()
"""An ``engine.Engine``; the models are bound to it."""
