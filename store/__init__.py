"""The named queries, a module an aggregate. Rows leave as tuples or plain dicts, never as models.

A function that writes is called in a write transaction, which its caller opens: so that one can see
where it begins and what else is in it. What takes many of them (an import, a deletion) opens its
own, and says so.
"""
