"""Parley's version, once: the API's description, ``/api/about`` and the commands tell it from here."""

VERSION = "1.1.0"
