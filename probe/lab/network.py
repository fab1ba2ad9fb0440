"""near | fw | far on one machine: three network namespaces and the links between them.

The interfaces are made inside the namespaces, so that nothing of the lab ever stands in the host's
own network, and no packet can leave the namespaces: they have no link but those to each other.

What has to be cleared away is told to a janitor (:mod:`probe.lab.janitor`) *before* it is made.
pyroute2 is imported when a lab is built, not before: it takes 0.2 s.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from probe.lab.firewall import Firewall, LabError, LabUnavailable
from probe.lab.janitor import NETNS_DIRECTORY, SCRATCH, remove_namespace

PLACES = ("near", "fw", "far")
SYSTEM_PATH = "/usr/sbin:/sbin:/usr/bin:/bin"  # `su` without `-` leaves nft's directory out

_HOST = {4: {"near": "10.77.1.2", "far": "10.77.2.2"}, 6: {"near": "fd77:1::2", "far": "fd77:2::2"}}
_GATE = {4: {"near": "10.77.1.1", "far": "10.77.2.1"}, 6: {"near": "fd77:1::1", "far": "fd77:2::1"}}
_LENGTH = {4: 24, 6: 64}
_NODAD = 0x02  # IFA_F_NODAD: usable at once, without a second of duplicate address detection

_EVERYWHERE = {
    "net/ipv4/conf/all/rp_filter": "0",  # a host's own settings are passed down to namespaces
    "net/ipv4/conf/default/rp_filter": "0",
}
_EVERYWHERE_6 = {
    "net/ipv6/conf/all/disable_ipv6": "0",
    "net/ipv6/conf/default/disable_ipv6": "0",
    "net/ipv6/conf/default/accept_dad": "0",
    "net/ipv6/conf/default/accept_ra": "0",
}
# A rejected shot is answered every time: how many errors a second a kernel sends by default (one
# for each address) is not what the lab's rules are about.
# (The second limit is for all addresses together, and a namespace's own in later kernels only.)
_GATEWAY = {"net/ipv4/icmp_ratelimit": "0", "net/ipv4/icmp_msgs_burst": "10000"}
_LATER = {"net/ipv4/icmp_msgs_burst"}
_GATEWAY_6 = {"net/ipv6/icmp/ratelimit": "0"}
_FORWARD = "net/ipv4/ip_forward"
_FORWARD_6 = "net/ipv6/conf/all/forwarding"

_STALE = re.compile(rf"probe-(\d+)-(?:\d+-)?(?:{'|'.join(PLACES)})")
_numbers = itertools.count(1)
_ours: set[str] = set()  # namespaces of this process' labs


class Lab:
    """A context manager. Inside, programs run ``spawn``-ed or ``run`` in near, fw or far.

    ``near``, ``fw`` and ``far`` are the names of the namespaces, ``directory`` a directory for
    keys and logs that goes with the lab. LabError, on entering, when it cannot be had.
    """

    places: tuple[str, ...] = PLACES

    def __init__(
        self, firewall: Firewall | None = None, family: int = 4, prefix: str | None = None
    ) -> None:
        self.firewall = firewall
        self.family = family
        number = next(_numbers)
        own = f"probe-{os.getpid()}" + (f"-{number}" if number > 1 else "")
        self.prefix = prefix or own
        self.near, self.fw, self.far = (f"{self.prefix}-{place}" for place in PLACES)
        self.directory = Path(tempfile.gettempdir()) / f"{SCRATCH}{secrets.token_hex(8)}"
        self._janitor: subprocess.Popen[bytes] | None = None
        self._children: list[subprocess.Popen[Any]] = []
        self._nsenter = ""

    def __enter__(self) -> Self:
        self._nsenter = _program("nsenter", "util-linux")
        if self.firewall is not None:
            _program("nft", "nftables")
        if os.geteuid() != 0:
            raise LabUnavailable(
                "the lab makes network namespaces, which takes root. Run: sudo probe lab"
            )
        sweep()
        try:
            self._build()
            if self.firewall is not None:
                self.load(self.firewall.where, self.firewall.path)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends what was spawned and removes the namespaces. May be called again."""
        janitor, self._janitor = self._janitor, None
        if janitor is None:
            return
        assert janitor.stdin is not None
        janitor.stdin.close()
        if janitor.wait() < 0:  # somebody ended it: do its work here
            for name in self._namespaces():
                remove_namespace(name)
            shutil.rmtree(self.directory, ignore_errors=True)
        for child in self._children:
            child.kill()  # over already, and then this does nothing
            child.wait()
        _ours.difference_update(self._namespaces())

    # -- addresses -------------------------------------------------------------------------------

    def near_address(self, family: int | None = None) -> str:
        return _HOST[family or self.family]["near"]

    def far_address(self, family: int | None = None) -> str:
        return _HOST[family or self.family]["far"]

    def gateway_address(self, towards: str, family: int | None = None) -> str:
        """fw's address on the link towards "near" or "far"."""
        return _GATE[family or self.family][towards]

    # -- programs and rules ----------------------------------------------------------------------

    def spawn(self, where: str, argv: Sequence[str], **popen: Any) -> subprocess.Popen[Any]:
        """Starts a program in "near", "fw" or "far"; its pid is the program's own.

        The lab ends it, by this pid, if it still runs when the lab is over.
        """
        command = [self._nsenter, f"--net={NETNS_DIRECTORY}/{self._namespace(where)}", "--", *argv]
        child: subprocess.Popen[Any] = subprocess.Popen(command, **popen)
        self._children.append(child)
        self._tell("pid", child.pid)
        return child

    def run(
        self,
        where: str,
        argv: Sequence[str],
        *,
        input: str | None = None,  # as subprocess.run names it
        timeout: float = 60.0,
        **popen: Any,
    ) -> subprocess.CompletedProcess[str]:
        """Runs a program in a namespace to its end; its output is captured as text."""
        options: dict[str, Any] = {
            "stdin": subprocess.DEVNULL if input is None else subprocess.PIPE,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "text": True,
        }
        child = self.spawn(where, argv, **(options | popen))
        try:
            out, err = child.communicate(input, timeout)
        except BaseException:
            child.kill()
            child.wait()
            raise
        return subprocess.CompletedProcess(list(argv), child.returncode, out, err)

    def load(self, where: str, rules: str | Path) -> None:
        """Loads nftables rules: a file, or the text itself. LabError holds nft's own words."""
        nft = _program("nft", "nftables")
        if isinstance(rules, Path):  # by its name, so that nft's message names it and `include`s
            name, text, argv = str(rules), None, [nft, "-f", str(rules)]  # are found
        else:
            name, text, argv = "the rules", rules, [nft, "-f", "-"]
        done = self.run(where, argv, input=text)
        if done.returncode:
            words = (done.stderr.strip() or done.stdout.strip()).replace("/dev/stdin", name)
            raise LabError(f"nft does not take {name}:\n{words}")

    def flush(self, where: str) -> None:
        """Takes all rules away."""
        self.load(where, "flush ruleset\n")

    # -- building --------------------------------------------------------------------------------

    def _namespaces(self) -> tuple[str, ...]:
        return tuple(map(self._namespace, self.places))

    def _namespace(self, where: str) -> str:
        return f"{self.prefix}-{self.places[self.places.index(where)]}"

    def _tell(self, word: str, value: object) -> None:
        assert self._janitor is not None, "the lab is not open"
        assert self._janitor.stdin is not None
        try:
            self._janitor.stdin.write(f"{word} {value}\n".encode())
        except BrokenPipeError:
            raise LabError("the process that cleans up behind the lab was ended") from None

    def _build(self) -> None:
        self._janitor = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(__file__).with_name("janitor.py"))],
            stdin=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,  # Ctrl-C is not for it
        )
        self._tell("dir", self.directory)
        self.directory.mkdir(mode=0o700)
        ipv6 = Path("/proc/sys/net/ipv6").exists()
        if self.family == 6 and not ipv6:
            raise LabUnavailable("this machine's kernel has no IPv6")
        with _explained("make network namespaces (a container needs CAP_SYS_ADMIN for it)"):
            self._make_namespaces()
        with _explained("set up the lab's network (a container needs CAP_NET_ADMIN for it)"):
            for place in self.places:
                _inside(self._namespace(place), partial(_write, self._settings(place, ipv6)))
            self._connect((4, 6) if ipv6 else (4,))

    def _make_namespaces(self) -> None:
        from pyroute2 import netns

        with _lock():
            for name in self._namespaces():
                if Path(NETNS_DIRECTORY, name).exists():
                    raise LabError(f"the network namespace {name} exists already")
                self._tell("netns", name)
                _ours.add(name)
                netns.create(name)

    def _settings(self, place: str, ipv6: bool) -> dict[str, str]:
        forwarding = "1" if self.firewall is None or self.firewall.forwarding else "0"
        settings = dict(_EVERYWHERE)
        if ipv6:
            settings |= _EVERYWHERE_6
        if place == "fw":
            settings |= _GATEWAY | {_FORWARD: forwarding}
            if ipv6:
                settings |= _GATEWAY_6 | {_FORWARD_6: forwarding}
        return settings

    def _connect(self, families: Sequence[int]) -> None:
        """Links, addresses and routes."""
        from pyroute2 import IPRoute

        near0, far0 = self.firewall.interfaces if self.firewall else ("near0", "far0")
        with IPRoute() as ip:
            for host, name in ((self.near, near0), (self.far, far0)):
                peer = {"ifname": name, "net_ns_fd": self.fw}
                ip.link("add", kind="veth", ifname="eth0", net_ns_fd=host, peer=peer)
        for place, interfaces in (
            ("fw", {near0: ("near", _GATE), far0: ("far", _GATE)}),
            ("near", {"eth0": ("near", _HOST)}),
            ("far", {"eth0": ("far", _HOST)}),
        ):
            with IPRoute(netns=self._namespace(place)) as ip:
                index = {link.get("ifname"): link["index"] for link in ip.get_links()}
                for name in ("lo", *interfaces):
                    ip.link("set", index=index[name], state="up")
                for name, (side, addresses) in interfaces.items():
                    for family in families:
                        ip.addr(
                            "add",
                            index=index[name],
                            address=addresses[family][side],
                            prefixlen=_LENGTH[family],
                            flags=_NODAD if family == 6 else 0,
                        )
                        if place != "fw":
                            ip.route("add", dst="default", gateway=_GATE[family][side])


def sweep() -> None:
    """Removes namespaces of labs whose process is no more, should their janitor be gone as well."""
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(NETNS_DIRECTORY):
            match = _STALE.fullmatch(name)
            if match and name not in _ours and not _lives(int(match[1])):
                remove_namespace(name)


def _lives(pid: int) -> bool:
    """This process does not count: a name with its number that it did not make is an old one."""
    return pid != os.getpid() and Path(f"/proc/{pid}").exists()


def _program(name: str, package: str) -> str:
    """The full path of a program. LabUnavailable says which package has it."""
    path = shutil.which(name) or shutil.which(name, path=SYSTEM_PATH)
    if path is None:
        raise LabUnavailable(
            f"the lab needs the program {name}, which is not here. Run: apt-get install {package}"
        )
    return path


@contextlib.contextmanager
def _explained(what: str) -> Iterator[None]:
    """The errors of the kernel and of pyroute2, as a message."""
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        yield
    except NetlinkError as error:
        raise LabUnavailable(f"cannot {what}: {error.args[-1]}") from error
    except OSError as error:
        raise LabUnavailable(f"cannot {what}: {error.strerror or error}") from error


@contextlib.contextmanager
def _lock() -> Iterator[None]:
    """One maker of namespaces at a time, as ``ip netns`` does it.

    Two that prepare the directory at once would mount it twice, and hide each other's names.
    """
    Path(NETNS_DIRECTORY).mkdir(exist_ok=True)
    descriptor = os.open(NETNS_DIRECTORY, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _inside(namespace: str, work: Callable[[], None]) -> None:
    """Does ``work`` in a thread that has entered the namespace; this thread stays where it is."""
    from pyroute2 import netns

    def enter() -> None:
        netns.setns(namespace, flags=0)
        work()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(enter).result()


def _write(settings: Mapping[str, str]) -> None:
    for name, value in settings.items():
        if name not in _LATER or Path("/proc/sys", name).exists():
            Path("/proc/sys", name).write_text(value)
