"""firewall-cmd commands that were advised, given to the real firewalld on a bus of its own."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from probe.lab import Lab
from tests.netns import mending

pytestmark = pytest.mark.netns

START = 30.0  # seconds that firewalld may take; it takes one
BUS = """
<busconfig>
  <listen>unix:path={directory}/bus</listen>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
"""
GATEWAY = """
firewall-cmd --permanent --zone=internal --add-interface=near0
firewall-cmd --permanent --zone=external --remove-masquerade
firewall-cmd --permanent --zone=external --add-interface=far0
firewall-cmd --permanent --new-policy=control
firewall-cmd --permanent --policy=control --add-ingress-zone=internal
firewall-cmd --permanent --policy=control --add-egress-zone=external
firewall-cmd --permanent --policy=control --add-port=5088/tcp
firewall-cmd --reload
"""
DENIED = (
    GATEWAY
    + """
set -- --permanent --policy=control
firewall-cmd "$@" --add-rich-rule='rule protocol value="esp" drop'
firewall-cmd "$@" --add-rich-rule='rule port port="500" protocol="udp" reject'
firewall-cmd --reload
"""
)
HOST = """
firewall-cmd --permanent --zone=public --add-interface=eth0
firewall-cmd --permanent --zone=public --add-port=5088/tcp
firewall-cmd --reload
"""
MUTE = (
    HOST
    + """
firewall-cmd --permanent --new-policy=mute
firewall-cmd --permanent --policy=mute --add-ingress-zone=HOST
firewall-cmd --permanent --policy=mute --add-egress-zone=ANY
firewall-cmd --permanent --policy=mute --add-port=5088/tcp
firewall-cmd --permanent --policy=mute --add-protocol=ipv6-icmp
firewall-cmd --permanent --policy=mute --set-target=DROP
firewall-cmd --reload
"""
)
NAMES = {"near_zone": "internal", "far_zone": "external", "zone": "public"}


def firewalld(where: str, commands: str) -> Callable[[Lab], None]:
    """Starts a bus and firewalld in a namespace, and gives it these commands."""

    def install(lab: Lab) -> None:
        bus = lab.directory / "bus.conf"
        bus.write_text(BUS.format(directory=lab.directory))
        lab.spawn(where, ["dbus-daemon", f"--config-file={bus}", "--nofork", "--nopidfile"])
        until((lab.directory / "bus").exists, "no bus")
        log = lab.directory / "firewalld.log"
        own = lab.directory / "firewalld"
        own.mkdir()
        (own / "firewalld.conf").write_bytes(Path("/etc/firewalld/firewalld.conf").read_bytes())
        argv = ["firewalld", "--nofork", "--nopid", f"--system-config={own}"]
        with log.open("wb") as output:
            lab.spawn(
                where,
                [*argv, "--log-target=console"],
                env=environment(lab),
                stdout=output,
                stderr=output,
            )
        running = ["firewall-cmd", "--state"]
        until(
            lambda: lab.run(where, running, env=environment(lab)).returncode == 0,
            "firewalld does not start",
            log,
        )
        command(lab, where, commands)

    return install


def environment(lab: Lab) -> dict[str, str]:
    return {**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={lab.directory}/bus"}


def until(true: Callable[[], bool], words: str, log: Path | None = None) -> None:
    deadline = time.monotonic() + START
    while not true():
        assert time.monotonic() < deadline, words + (log.read_text() if log else "")
        time.sleep(0.05)


def command(lab: Lab, where: str, script: str) -> None:
    mending.shell(lab, where, script, env=environment(lab), names=NAMES)


follow = mending.by_section(command)

CASES = {
    "forward": firewalld("fw", GATEWAY),
    "denied": firewalld("fw", DENIED),
    "far-in": firewalld("far", HOST),
    "near-out": firewalld("near", MUTE),
}


@pytest.mark.parametrize(("case", "family"), mending.both(CASES))
def test_every_row_that_failed_passes_and_nothing_else(case: str, family: int) -> None:
    trial = mending.conduct("firewalld", CASES[case], follow, family=family, stranger=family == 4)
    assert trial.still_failing() == [], trial.advice
    assert trial.opened() == [], trial.advice
