"""Parley's version: the one source for the API's description, ``/api/about`` and the commands."""

VERSION = "1.1.0"
