"""A real OpenSSH server in a lab, with keys and configuration of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from probe.lab import Lab, module
from probe.lab.janitor import NETNS_DIRECTORY
from tests.netns.ends import Json, Running, Said, wait_until

ROOT = Path(__file__).parent.parent.parent

SERVER = """
ListenAddress {address}
HostKey {home}/host
AuthorizedKeysFile /run/keys/authorized
PidFile {home}/pid
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
PermitRootLogin yes
"""
CLIENT = """
Host *
    IdentityFile {home}/user
    IdentitiesOnly yes
    UserKnownHostsFile {home}/known
    GlobalKnownHostsFile /dev/null
"""
# It wants /run/sshd, which is nobody's business outside; the places where something could be left
# are empty at the start; and whoever logs in is what etc/ in its home says.
PRIVATE = (
    "for place in /run /root /var/lib /var/tmp; do mount -t tmpfs none $place || exit; done; "
    "for file in $(ls {home}/etc); do mount --bind {home}/etc/$file /etc/$file || exit; done; "
    "cp -r {home}/skel/. /root && mkdir /run/sshd /run/keys && "
    "mount --bind {home}/keys /run/keys && exec {sshd} -D -e -f {home}/sshd_config"
)


class Sshd:
    """``where``: "far", or "fw" for a host that one jumps from. ``settings``: of its own.

    ``etc``, ``skel``: what is in files of /etc there, and at the start in root's home.
    """

    def __init__(
        self,
        lab: Lab,
        where: str = "far",
        settings: str = "",
        etc: Mapping[str, str] = MappingProxyType({}),
        skel: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.home = home = lab.directory / f"ssh-{where}"
        home.mkdir()
        for name, files in (("etc", etc), ("skel", skel)):
            (home / name).mkdir()
            for file, text in files.items():
                place = home / name / file
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_text(text)
        for name in ("host", "user"):
            argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(home / name)]
            subprocess.run(argv, check=True)
        self.authorized = home / "keys" / "authorized"  # whoever logs in may read it
        self.authorized.parent.mkdir()
        shutil.copy(home / "user.pub", self.authorized)
        self.address = lab.far_address() if where == "far" else lab.gateway_address("near")
        address = self.address
        (home / "known").write_text(f"{address} {(home / 'host.pub').read_text()}")
        (home / "sshd_config").write_text(SERVER.format(address=address, home=home) + settings)
        (home / "config").write_text(CLIENT.format(home=home))
        script = PRIVATE.format(sshd="/usr/sbin/sshd", home=home)
        with (home / "log").open("wb") as log:
            self.process = lab.spawn(
                where,
                ["unshare", "--mount", "--", "sh", "-c", script],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(
            lambda: "Server listening" in (home / "log").read_text(),
            "sshd",
        )

    def left(self) -> list[Path]:
        """What lies about on the far host."""
        root = Path(f"/proc/{self.process.pid}/root")
        return [
            path for place in ("root", "var/lib", "var/tmp") for path in (root / place).iterdir()
        ]

    def name(self, *lines: str) -> None:
        """What the operator's ~/.ssh/config says besides."""
        config = self.home / "config"
        config.write_text("\n".join((*lines, config.read_text())))  # the first that says it

    def encrypt(self, phrase: str) -> None:
        """The user's key is then of no use without it."""
        argv = ["ssh-keygen", "-q", "-p", "-P", "", "-N", phrase, "-f", str(self.home / "user")]
        subprocess.run(argv, check=True)

    @property
    def options(self) -> tuple[str, ...]:
        return "--control=ssh", f"--ssh-command=ssh -F {self.home / 'config'}"


def with_shell(shell: str) -> str:
    """This host's /etc/passwd, but for root's shell."""
    return _with("passwd", "root", f"x:0:0:root:/root:{shell}")


def with_user(name: str, sudoers: str) -> dict[str, str]:
    """Files of /etc that know one more user, without a password, and what he may do by sudo."""
    return {
        "passwd": _with("passwd", name, "x:4321:4321::/:/bin/sh"),
        "group": _with("group", name, "x:4321:"),
        "shadow": "".join(f"{who}:*:19000:0:99999:7:::\n" for who in ("root", name)),
        "sudoers": f"Defaults use_pty\n{sudoers}\n",  # as Debian ships it
    }


def _with(file: str, name: str, rest: str) -> str:
    lines = Path("/etc", file).read_text().splitlines()
    others = (line for line in lines if not line.startswith(f"{name}:"))
    return "\n".join((f"{name}:{rest}", *others, ""))


def built() -> None:
    """The file that is copied there, of this tree."""
    done = subprocess.run(
        ["make", "--no-print-directory", "dist"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def start(lab: Lab, server: Sshd, *options: str, command: str = "run") -> Running:
    argv = [*module("probe"), command, f"--peer={lab.far_address()}", *server.options, *options]
    # Away from the terminal of whoever runs the tests: ssh would ask him.
    return Running(lab, "near", argv, prefix=["setsid"])


def run(lab: Lab, server: Sshd, *options: str, command: str = "run") -> Said:
    return start(lab, server, *options, command=command).end(60)


def cells(found: Json) -> dict[tuple[object, ...], str]:
    names = ("kind", "direction", "flow", "source_port")
    return {tuple(c[name] for name in names): c["outcome"] for c in found["checks"]}


def agents(lab: Lab) -> set[int]:
    """Every process of that far host that is an agent started by ssh, or is to become one."""
    inside = os.stat(f"{NETNS_DIRECTORY}/{lab.far}").st_ino
    found = set()
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            try:
                there = os.stat(place / "ns" / "net").st_ino == inside
                words = (place / "cmdline").read_bytes()
            except OSError:
                continue
            if there and b"--stdio=" in words:
                found.add(int(place.name))
    return found
