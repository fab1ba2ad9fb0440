"""Other people's daemons in a lab: real ones, that hold the ports which our shots go to.

Each gets a directory of its own for all that it reads and writes, and a mount namespace in which
``/run`` and the like are empty, so that nothing of this machine is touched. One that does not start
fails the test with its own log.
"""

from __future__ import annotations

import os
import re
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from probe.lab import Lab
from tests.netns.ends import wait_until

START = 60.0  # seconds until a daemon must be at work
ROOT = Path(__file__).parents[2]
NETWORK = "vici kernel-netlink socket-default"  # charon's plugins for it
REALM = "EXAMPLE.TEST"
PASSWORD = "Secret-1234"


class Daemon(ABC):
    """Runs from its construction to the end of the lab."""

    ports: tuple[tuple[str, int], ...]  # ("udp" or "tcp", number): what it holds
    hidden: tuple[str, ...] = ("/run",)  # directories that are empty in its eyes

    def __init__(self, lab: Lab, where: str) -> None:
        self.lab = lab
        self.where = where
        self.directory = lab.directory / f"{type(self).__name__.lower()}-{where}"
        self.directory.mkdir()
        self.log = self.directory / "log"
        self.configure()
        self.process: subprocess.Popen[Any]
        with (self.directory / "output").open("wb") as output:
            self.process = lab.spawn(
                where,
                self.private(self.command()),
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self.await_(lambda: all(self.holds(*place) for place in self.ports), "it has its ports")
        self.await_(self.serves, "it answers")

    @abstractmethod
    def configure(self) -> None:
        """Writes its configuration."""

    @abstractmethod
    def command(self) -> list[str]: ...

    @abstractmethod
    def serves(self) -> bool:
        """Asked as its clients do, from its own host: does it answer?"""

    def environment(self) -> dict[str, str]:
        return dict(os.environ)

    def mounts(self) -> list[str]:
        """Shell commands that make its private mount namespace."""
        return [f"mkdir -p {path}; mount -t tmpfs none {path}" for path in self.hidden]

    def private(self, argv: Sequence[str]) -> list[str]:
        script = "; ".join(["set -e", *self.mounts(), 'exec "$@"'])
        return ["unshare", "--mount", "sh", "-c", script, "sh", *argv]

    def run(self, argv: Sequence[str], input: str | None = None) -> str:
        """A tool of the daemon's, on its host and in its environment. What it said on success."""
        done = self.lab.run(self.where, argv, env=self.environment(), input=input)
        assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}\n{self.words()}"
        return done.stdout

    def holds(self, transport: str, port: int) -> bool:
        """In IPv4 and in IPv6."""
        return all(
            re.search(rf":{port:04X} 0+:0000 ", table.read_text())
            for version in ("", "6")
            if (table := Path(f"/proc/{self.process.pid}/net/{transport}{version}")).exists()
        )

    def words(self) -> str:
        """What it said so far."""
        files = (self.directory / "output", self.log)
        return "\n".join(f.read_text(errors="replace") for f in files if f.exists())

    def await_(self, true: Callable[[], bool], what: str) -> None:
        def over_or_true() -> bool:
            assert self.process.poll() is None, f"{type(self).__name__} ended:\n{self.words()}"
            return true()

        try:
            wait_until(over_or_true, what, START)
        except AssertionError as error:
            raise AssertionError(f"{type(self).__name__}: {error}\n{self.words()}") from error


# -- IKE -----------------------------------------------------------------------------------------


class IkeDaemon(Daemon):
    ports = (("udp", 500), ("udp", 4500))

    def answers(self, where: str) -> bool:
        """ike-scan, from a port of its own; it speaks IPv4 only."""
        address = (self.lab.near_address if self.where == "near" else self.lab.far_address)(4)
        argv = ["ike-scan", "--ikev2", "--sport=0", "--retry=1", "--timeout=5000", address]
        done = self.lab.run(where, argv)
        assert done.returncode == 0, done.stderr
        return re.search(r"1 returned (handshake|notify)", done.stdout) is not None

    def serves(self) -> bool:
        return True

    @abstractmethod
    def half_open(self) -> int:
        """IKE SAs that were begun and lead nowhere yet."""


class Charon(IkeDaemon):
    """strongSwan, with a connection that any peer may have whose proposal is a usual one."""

    def configure(self) -> None:
        (self.directory / "strongswan.conf").write_text(f"""
            charon {{
                load = random nonce aes sha1 sha2 hmac kdf gmp openssl {NETWORK}
                filelog {{ log {{ path = {self.log}
                    default = 1
                    flush_line = yes }} }}
                plugins {{ vici {{ socket = {self.socket} }} }}
            }}
            swanctl {{ load = pem pkcs1 x509 pubkey }}
        """)
        (self.directory / "swanctl.conf").write_text("""
            connections { any {
                version = 2
                local_addrs = %any
                remote_addrs = %any
                proposals = aes256-sha256-x25519-modp2048, default
                local { auth = psk }
                remote { auth = psk }
                children { child { } }
            } }
            secrets { ike-any { secret = "a secret of the tests" } }
        """)

    @property
    def socket(self) -> str:
        return f"unix://{self.directory}/vici"

    def environment(self) -> dict[str, str]:
        return {**os.environ, "STRONGSWAN_CONF": str(self.directory / "strongswan.conf")}

    def command(self) -> list[str]:
        return ["/usr/lib/ipsec/charon"]

    def serves(self) -> bool:
        argv = ["swanctl", "--load-all", "--uri", self.socket]
        argv += ["--file", str(self.directory / "swanctl.conf")]
        done = self.lab.run(self.where, argv, env=self.environment())
        return "successfully loaded 1 connections" in done.stdout

    def half_open(self) -> int:
        said = self.run(["swanctl", "--stats", "--uri", self.socket])
        match = re.search(r"(\d+) half-open", said)
        assert match is not None, said
        return int(match[1])


class Pluto(IkeDaemon):
    """libreswan. It cannot be installed beside strongSwan, so the Makefile only unpacks it."""

    unpacked = ROOT / ".venv" / "libreswan"

    def configure(self) -> None:
        assert self.unpacked.exists(), "libreswan is not unpacked: run `make peers`"
        for name in ("nss", "ipsec.d", "run"):
            (self.directory / name).mkdir()
        address = (self.lab.near_address if self.where == "near" else self.lab.far_address)()
        (self.directory / "ipsec.conf").write_text(
            "conn any\n    ikev2=insist\n    authby=secret\n    auto=add\n"
            f"    left={address}\n    right=%any\n    ike=aes256-sha2;dh31\n"
        )
        (self.directory / "ipsec.secrets").write_text(': PSK "a secret of the tests"\n')
        self.run(["certutil", "-N", "-d", f"sql:{self.directory}/nss", "--empty-password"])

    def mounts(self) -> list[str]:
        return [*super().mounts(), f"mount --bind {self.unpacked}/usr/libexec /usr/libexec"]

    def command(self) -> list[str]:
        here = self.directory
        return [
            "/usr/libexec/ipsec/pluto",
            "--nofork",
            "--no-dnssec",
            f"--logfile={self.log}",
            f"--config={here}/ipsec.conf",
            f"--secretsfile={here}/ipsec.secrets",
            f"--rundir={here}/run",
            f"--nssdir={here}/nss",
            f"--ipsecdir={here}/ipsec.d",
            f"--dumpdir={here}",
        ]

    def serves(self) -> bool:
        return "added IKEv2 connection" in self.words()

    def half_open(self) -> int:
        whack = f"{self.unpacked}/usr/libexec/ipsec/whack"
        said = self.run([whack, "--rundir", f"{self.directory}/run", "--globalstatus"])
        match = re.search(r"current\.states\.iketype\.halfopen=(\d+)", said)
        assert match is not None, said
        return int(match[1])


# -- Kerberos ------------------------------------------------------------------------------------


class Kdc(Daemon):
    ports = (("udp", 88), ("tcp", 88))
    principal: str

    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "KRB5_CONFIG": str(self.directory / "krb5.conf"),
            "KRB5_KDC_PROFILE": str(self.directory / "kdc.conf"),
            "KRB5CCNAME": f"FILE:{self.directory}/tickets",
        }

    def configure(self) -> None:
        address = (self.lab.near_address if self.where == "near" else self.lab.far_address)()
        server = f"[{address}]" if ":" in address else address
        (self.directory / "krb5.conf").write_text(
            f"""
            [libdefaults]
                default_realm = {REALM}
                dns_lookup_kdc = false
                dns_lookup_realm = false
                rdns = false
            [realms]
                {REALM} = {{
                    kdc = {server}
                }}
        """.replace("            ", "")
        )

    def serves(self) -> bool:
        return self.answers(self.where)

    def answers(self, where: str) -> bool:
        """kinit: a ticket for a user with a password."""
        argv = ["kinit", self.principal]
        done = self.lab.run(where, argv, env=self.environment(), input=f"{PASSWORD}\n")
        return done.returncode == 0


class MitKdc(Kdc):
    principal = "alice"

    def configure(self) -> None:
        super().configure()
        (self.directory / "kdc.conf").write_text(f"""[kdcdefaults]
    kdc_listen = 88
    kdc_tcp_listen = 88
[realms]
    {REALM} = {{
        database_name = {self.directory}/principal
        key_stash_file = {self.directory}/stash
        acl_file = {self.directory}/acl
    }}
[logging]
    kdc = FILE:{self.log}
""")
        self.run(["kdb5_util", "create", "-s", "-r", REALM, "-P", "master"])
        add = ["addprinc", "-pw", PASSWORD, "+requires_preauth", self.principal]
        self.run(["kadmin.local", "-r", REALM, *add])

    def command(self) -> list[str]:
        return ["krb5kdc", "-n", "-r", REALM, "-P", str(self.directory / "pid")]


class SambaKdc(Kdc):
    """The KDC of an Active Directory domain controller, and what it cannot do without."""

    principal = "Administrator"
    hidden = ("/run", "/var/lib/samba", "/var/cache/samba", "/var/log/samba")

    def configure(self) -> None:
        super().configure()
        argv = [
            *("samba-tool", "domain", "provision", "--server-role=dc", "--dns-backend=NONE"),
            *(f"--realm={REALM}", "--domain=EXAMPLE", "--host-name=dc", "--quiet"),
            *(f"--targetdir={self.directory}", f"--adminpass={PASSWORD}"),
            f"--host-ip={self.lab.far_address(4)}",
        ]
        self.run(self.private(argv))

    def command(self) -> list[str]:
        run = self.directory / "run"
        run.mkdir()
        options = {
            "server services": "kdc",
            "log file": self.log,
            "pid directory": run,
            "ncalrpc dir": run / "ncalrpc",
        }
        return [
            *("samba", "--interactive", "--model=single"),
            f"--configfile={self.directory}/etc/smb.conf",
            *(f"--option={name}={value}" for name, value in options.items()),
        ]
