"""Writes what one host alone saw, the way a run without an agent would: for its tests."""

from __future__ import annotations

from agent.model import TAKEN, Event, Icmp, Side
from probe.judge import onesided
from probe.plan import Planned
from probe.result import Conclusion
from tests.unit.correlation import FAR, OUT, ROUTER, Story, pair

ADMIN, NO_PORT, NO_PROTOCOL, NO_HOST = (3, 13), (3, 3), (3, 2), (3, 1)
FAR_TTL = 61  # what three routers leave of it
NEARER = FAR_TTL + 2  # what a firewall two routers before far leaves

ESP = pair(1, "esp", OUT)
IKE = pair(3, "ike", OUT, source_port=500, destination_port=500)
KERBEROS = pair(5, "kerberos-udp", OUT, destination_port=88)
TCP = pair(7, "kerberos-tcp", OUT, destination_port=88)
ECHO = pair(9, "icmp-echo", OUT)
PLAIN_TCP = pair(11, "tcp:445", OUT, destination_port=445)
PLAIN_UDP = pair(13, "udp:53", OUT, destination_port=53)


class OneSided(Story):
    """Shots leave near; what comes back comes back to near."""

    def __init__(self, *pairs: tuple[Planned, Planned], unsaid: bool = False) -> None:
        """``unsaid``: the shots are left to the test."""
        super().__init__(*pairs)
        self.far = None
        if not unsaid:
            for request, _ in pairs:
                self.leave(request.check.number)

    def leave(self, number: int, shots: int = 1) -> None:
        self.fire(number, shots)
        stage = "syn" if "tcp" in self.checks[number].kind else ""
        for shot in range(1, shots + 1):
            self.see(number, shot, Event.SENT, stage=stage)
            self.see(number, shot, Event.LEFT, stage=stage, ttl=64)

    def echo(self, ttl: int = FAR_TTL) -> None:
        """far answers a ping."""
        number = ECHO[1].check.number
        self.see(number, 1, Event.ARRIVED, ttl=ttl)
        self.see(number, 1, Event.DELIVERED, ttl=ttl)

    def error(
        self, number: int, word: tuple[int, int], sender: str = FAR, *, ttl: int = FAR_TTL,
        shot: int = 1,
    ) -> None:  # fmt: skip
        self.see(
            number, shot, Event.REFUSED, Side.NEAR, source=sender, ttl=ttl,
            icmp=Icmp(*word, sender),
        )  # fmt: skip

    def answer(
        self, number: int, says: str, *, source: str = FAR, taken: bool = True,
        ttl: int = FAR_TTL, shot: int = 1,
    ) -> None:  # fmt: skip
        """A service answers request ``number``; ``taken``: past near's own firewall."""
        for stage in ("", TAKEN) if taken else ("",):
            more = {"says": says, "source": source, "stage": stage}
            self.see(number + 1, shot, Event.REPLIED, Side.NEAR, ttl=ttl, **more)

    def shake(self, number: int, *, ttl: int = FAR_TTL, connected: bool = True) -> None:
        self.see(number + 1, 1, Event.ARRIVED, stage="syn-ack", ttl=ttl)
        if connected:
            self.see(number + 1, 1, Event.DELIVERED, stage="syn-ack")

    def spoken(self, number: int, says: str, *, ttl: int = FAR_TTL) -> None:
        """What the connection brings."""
        self.see(number + 1, 1, Event.ARRIVED, stage="answer", ttl=ttl)
        self.see(number + 1, 1, Event.DELIVERED, stage="answer", says=says, note="not ours")

    def reset(self, number: int, *, ttl: int = FAR_TTL, source: str = FAR) -> None:
        self.see(number, 1, Event.REFUSED, Side.NEAR, stage="rst", ttl=ttl, source=source)

    def judged(self, *, strict: bool = False) -> dict[int, Conclusion]:
        found = onesided.conclude(self.plan, self.evidence(), strict=strict)
        return {conclusion.check.number: conclusion for conclusion in found}


__all__ = ["FAR", "ROUTER", "OneSided"]
