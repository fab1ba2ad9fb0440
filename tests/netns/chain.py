"""near | router | … | router | far: a way with several hops, one of them the firewall.

Link ``n`` is 10.77.n.0/24 and fd77:n::/64. Its right end has the number 1 where it is the first
link and 2 elsewhere, its left end 2 on the first link and 1 elsewhere: near and far are 2, as in
the lab with one router.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from probe.lab.network import Lab

FORWARD = {4: "net/ipv4/ip_forward", 6: "net/ipv6/conf/all/forwarding"}


class Chain(Lab):
    """``at``: which of the routers, from 1 on, is fw. ``limited``: ICMP errors, as kernels do."""

    def __init__(self, routers: int, at: int = 1, family: int = 4, *, limited: bool = True) -> None:
        super().__init__(None, family)
        self._limited = limited
        self.routers = [f"hop{n}" if n != at else "fw" for n in range(1, routers + 1)]
        self.places = ("near", *self.routers, "far")

    def address(self, link: int, end: int) -> str:
        """``end``: 0 for the left, 1 for the right."""
        right = 1 if link == 1 else 2
        return self._text(link, right if end else 3 - right)

    def _text(self, link: int, number: int, family: int | None = None) -> str:
        six = (family or self.family) == 6
        return f"fd77:{link}::{number}" if six else f"10.77.{link}.{number}"

    def outbound(self) -> list[str]:
        """The routers' addresses in the order in which a shot from near meets them."""
        return [self.address(link, 1) for link in range(1, len(self.routers) + 1)]

    def inbound(self) -> list[str]:
        return [self.address(link, 0) for link in range(len(self.routers) + 1, 1, -1)]

    def far_address(self, family: int | None = None) -> str:
        return self._text(len(self.routers) + 1, 2, family)

    def _settings(self, place: str, ipv6: bool) -> dict[str, str]:
        settings = super()._settings(place, ipv6)
        if place in self.routers:
            if self._limited:
                settings = {k: v for k, v in settings.items() if "ratelimit" not in k}
            settings |= {FORWARD[4]: "1"} | ({FORWARD[6]: "1"} if ipv6 else {})
        return settings

    def _connect(self, families: Sequence[int]) -> None:
        from pyroute2 import IPRoute

        names = [self._namespace(place) for place in self.places]
        links = len(names) - 1
        with IPRoute() as ip:
            for link, (left, right) in enumerate(pairwise(names), 1):
                left_name = "eth0" if link == 1 else "far0"
                right_name = "eth0" if link == links else "near0"
                peer = {"ifname": right_name, "net_ns_fd": right}
                ip.link("add", kind="veth", ifname=left_name, net_ns_fd=left, peer=peer)
        for place, name in enumerate(names):
            ends = [(link, end) for link, end in ((place, 1), (place + 1, 0)) if 0 < link <= links]
            with IPRoute(netns=name) as ip:
                index = {link.get("ifname"): link["index"] for link in ip.get_links()}
                ip.link("set", index=index["lo"], state="up")
                for link, end in ends:
                    one = len(ends) == 1
                    interface = index["eth0" if one else ("near0" if end else "far0")]
                    ip.link("set", index=interface, state="up")
                    for family in families:
                        self._join(ip, interface, link, end, family)
                        self._route(ip, place, link, end, links, family)

    def _join(self, ip: object, interface: int, link: int, end: int, family: int) -> None:
        right = 1 if link == 1 else 2
        ip.addr(  # type: ignore[attr-defined]
            "add",
            index=interface,
            address=self._text(link, right if end else 3 - right, family),
            prefixlen=64 if family == 6 else 24,
            flags=0x02 if family == 6 else 0,  # IFA_F_NODAD
        )

    def _route(self, ip: object, place: int, link: int, end: int, links: int, family: int) -> None:
        """Over this link to all that lies behind it."""
        right = 1 if link == 1 else 2
        gateway = self._text(link, 3 - right if end else right, family)
        behind = range(1, link) if end else range(link + 1, links + 1)
        for other in behind:
            prefix = f"fd77:{other}::/64" if family == 6 else f"10.77.{other}.0/24"
            ip.route("add", dst=prefix, gateway=gateway)  # type: ignore[attr-defined]
