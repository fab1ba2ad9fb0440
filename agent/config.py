"""What an agent was started with."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field

from agent.access.keyring import Keyring
from agent.model import Limits

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Config:
    ring: Keyring
    listen: str | None = None  # None: every address
    port: int = 5088
    allow: Sequence[Network] = ()  # empty: whoever holds a key
    limits: Limits = field(default_factory=Limits)  # of each session
    sessions: int = 16  # at once
    inband: bool = True  # control messages may ride in packets of the kinds that are tested

    def permits(self, peer: str) -> bool:
        """Whether ``allow`` has that address."""
        if not self.allow:
            return True
        address = ipaddress.ip_address(peer.partition("%")[0])
        return any(address in network for network in self.allow)
