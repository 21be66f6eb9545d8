"""How SQLite runs a statement."""

from __future__ import annotations

from typing import Any

from database import db


def slow_steps(sql: str, values: Any) -> list[str]:
    """Return the steps of a statement that read a whole table or sort, but for the few rows of a subquery."""
    plan = [step for *_, step in db.execute_sql(f"EXPLAIN QUERY PLAN {sql}", values)]
    subqueries = {f"SCAN {step.split()[-1]}" for step in plan if step.startswith("CO-ROUTINE")} | {"SCAN CONSTANT ROW"}
    return [
        step
        for step in plan
        if (step.startswith("SCAN") and "VIRTUAL TABLE INDEX" not in step and step not in subqueries)
        or "TEMP B-TREE" in step
    ]
