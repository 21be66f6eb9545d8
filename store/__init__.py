"""Named queries, one module per aggregate. They return tuples or plain dicts, never models.

A function that writes must be called in a write transaction. Its caller opens it, so that one can
see where it starts and what else is in it. Functions that need several (an import, the deletion of
rows) open their own, and say so in their docstrings.
"""
