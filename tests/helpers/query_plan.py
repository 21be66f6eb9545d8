"""How the database runs a statement."""

from __future__ import annotations

import re
from itertools import count
from typing import Any

from database import db
from tests.helpers import engine


def slow_steps(sql: str) -> list[str]:
    """Return the steps of a statement that read a whole table or sort, but for the few rows of a subquery."""
    return _slow_steps_of_sqlite(sql) if engine.server is None else _slow_steps_of_postgresql(sql)


def _slow_steps_of_sqlite(sql: str) -> list[str]:
    values: Any = dict.fromkeys(re.findall(r":(\w+)", sql), "x") or ["x"] * sql.count("?")
    plan = [step for *_, step in db.execute_sql(f"EXPLAIN QUERY PLAN {sql}", values)]
    subqueries = [step.split()[-1] for step in plan if step.startswith(("CO-ROUTINE", "MATERIALIZE"))]
    small = {f"SCAN {name}" for name in (*subqueries, "CONSTANT ROW")}
    return [
        step
        for step in plan
        if (step.startswith("SCAN") and "VIRTUAL TABLE INDEX" not in step and step not in small)
        or "TEMP B-TREE" in step
    ]


def _slow_steps_of_postgresql(sql: str) -> list[str]:
    """Return the steps that remain although the planner was told to avoid them: there is no index to use instead."""
    numbers = count(1)
    numbered = re.sub("%s", lambda _: f"${next(numbers)}", sql).replace("%%", "%")
    arguments = ", ".join(["NULL"] * (next(numbers) - 1))
    with db.atomic():
        db.execute_sql("SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off; SET LOCAL enable_bitmapscan = off")
        connection = db.connection()
        connection.execute(f"PREPARE explained AS {numbered}")
        explain = f"EXPLAIN (COSTS OFF) EXECUTE explained{f' ({arguments})' if arguments else ''}"
        plan = [step for (step,) in connection.execute(explain)]
        connection.execute("DEALLOCATE explained")
    return [step.strip() for step in plan if "Seq Scan" in step or re.match(r"\W*(->  )?(Incremental )?Sort\b", step)]
