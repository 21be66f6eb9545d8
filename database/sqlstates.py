"""What PostgreSQL's errors mean for the API and for the connection, by their SQLSTATEs.

https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

from __future__ import annotations

from collections.abc import Iterator

import psycopg

# By the beginnings of SQLSTATEs, longer ones first.
CODE_BY_SQLSTATE = {
    "53100": "disk_full",
    "25006": "database_unavailable",  # read only: a standby
    "55P03": "database_busy",  # lock_timeout
    "57014": "database_busy",  # statement_timeout
    "25P03": "database_busy",  # idle_in_transaction_session_timeout
    "40001": "database_busy",
    "40P01": "database_busy",  # a deadlock
    "23503": "token_revoked",  # only an owner can be missing: removed since
    "23502": "token_revoked",  # a user who is being removed has no generation
    "53": "database_busy",  # too many connections, out of memory
    "08": "database_unavailable",
    "28": "database_unavailable",
    "3D": "database_unavailable",
    "57P": "database_unavailable",
    "58": "database_unavailable",
    "XX001": "database_unavailable",
    "XX002": "database_unavailable",
}
# Of errors after which a connection is of no use, though it may be open for a moment.
UNFIT_SQLSTATES = ("08", "25006", "57P")
# Of unique constraints, those whose values are the client's own choice.
CONFLICTS = ("retries_pkey", "drafts_pkey")


def error_code(error: BaseException) -> str:
    """Return the API's code for an error of the database, ``internal_error`` for an unexpected one."""
    for link in _driver_errors(error):
        if link.sqlstate is None:
            if isinstance(link, psycopg.OperationalError):
                return "database_unavailable"
        elif link.sqlstate == "23505" and link.diag.constraint_name in CONFLICTS:
            return "conflict"
        else:
            for state, code in CODE_BY_SQLSTATE.items():
                if link.sqlstate.startswith(state):
                    return code
    return "internal_error"


def is_unfit(error: BaseException) -> bool:
    """Return whether the connection is of no use after this error."""
    return any((link.sqlstate or "").startswith(UNFIT_SQLSTATES) for link in _driver_errors(error))


def _driver_errors(error: BaseException | None) -> Iterator[psycopg.Error]:
    """Yield the driver's errors in the chain of causes of an error."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        link = waiting.pop(0)
        if link is not None and id(link) not in seen:
            seen.add(id(link))
            if isinstance(link, psycopg.Error):
                yield link
            waiting += [link.__cause__, link.__context__, getattr(link, "orig", None)]
