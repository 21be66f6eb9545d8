"""The limit of connections, in all and from one network."""

from __future__ import annotations

from collections import Counter

from waitress.utilities import Error

from server.channel import Channel

# Connections over the limit that may still ask for the service's health.
MAX_OVER_LIMIT = 32


class TooManyConnections(Error):
    """The server's error for a request on a connection over the limit."""

    code = 503
    reason = "Service Unavailable"
    error_code = "too_many_connections"


class ConnectionLimit:
    """Counts connections. One over the limit is served the health checks and nothing else."""

    def __init__(self, limit: int, per_network: int):
        self._limit, self._per_network = limit, per_network
        self._count = 0
        self._count_by_network: Counter[str] = Counter()
        self._over_limit: list[Channel] = []

    def add(self, channel: Channel) -> None:
        """Count a new connection, or mark it as over the limit; the oldest ones of those are closed."""
        if self._count < self._limit and self._count_by_network[channel.network] < self._per_network:
            self._count += 1
            self._count_by_network[channel.network] += 1
            channel.counted = True
        else:
            channel.over_limit = True
            self._over_limit.append(channel)
            for oldest in self._over_limit[:-MAX_OVER_LIMIT]:
                oldest.will_close = True

    def remove(self, channel: Channel) -> None:
        """Stop counting a connection that is closed."""
        if channel.counted:
            channel.counted = False
            self._count -= 1
            self._count_by_network[channel.network] -= 1
            if not self._count_by_network[channel.network]:
                del self._count_by_network[channel.network]
        elif channel in self._over_limit:
            self._over_limit.remove(channel)
