"""Every platform's module, over every rule there can be: its lines are of the vendor's syntax.

The grammars below are written from the vendors' documents, which each of them names.
"""

from __future__ import annotations

import itertools
import re
import shlex
from dataclasses import replace

import pytest

from agent.model import Direction, Flow
from probe.advise import platforms, text
from probe.advise.platforms import UnknownPlatform, load, names
from probe.advise.rule import Action, Place, Ports, Rule, Way

NAMES = names()
ADDRESSES = {4: ("10.0.0.1", "10.0.0.5"), 6: ("2001:db8::1", "2001:db8:5::5")}
PORTS: tuple[tuple[Ports | None, Ports | None], ...] = (
    (None, (88, 88)),
    ((500, 500), (500, 500)),
    (None, (49152, 65535)),
)
V4, V6 = r"\d+(?:\.\d+){3}", r"[0-9a-f:]+:[0-9a-f]+"
ADDRESS = rf"(?:{V4}|{V6})"
NET = rf"(?:{V4}/32|{V6}/128)"
PORT = r"\d{1,5}(?:-\d{1,5})?"
COLON = PORT.replace("-", ":")


def rule(
    direction: Direction,
    flow: Flow,
    family: int,
    protocol: str,
    ports: tuple[Ports | None, Ports | None] = (None, None),
    action: Action = Action.ALLOW,
) -> Rule:
    near, far = ADDRESSES[family]
    source, target = (near, far) if direction is Direction.OUTBOUND else (far, near)
    if flow is Flow.REPLY:
        ports = ports[::-1]
    return Rule(
        Place.NETWORK,
        Way.THROUGH,
        direction,
        flow,
        family,
        protocol,
        source,
        target,
        *ports,
        action,
        title=protocol.upper(),
    )


def every(family: int, action: Action = Action.ALLOW) -> list[Rule]:
    """All there can be in the network."""
    found = []
    for direction, flow in itertools.product(Direction, Flow):
        found += [rule(direction, flow, family, p, action=action) for p in ("esp", "ah", "icmp")]
        found += [
            rule(direction, flow, family, p, ports, action)
            for p in ("udp", "tcp")
            for ports in PORTS
        ]
    return found


def on_hosts(rules: list[Rule]) -> list[Rule]:
    """The same in the hosts' own firewalls."""
    near = [
        replace(r, place=Place.NEAR, way=Way.OUT if r.direction is Direction.OUTBOUND else Way.IN)
        for r in rules
    ]
    far = [
        replace(r, place=Place.FAR, way=Way.IN if r.direction is Direction.OUTBOUND else Way.OUT)
        for r in rules
    ]
    return near + far


def commands(platform: str, rules: list[Rule]) -> list[str]:
    found = load(platform)
    return [line for line in found.write(rules) if not line.startswith(found.COMMENT)]


def module(platform: str) -> str:
    return f"probe.advise.platforms.{platform.replace('-', '_')}"


def assignment(*names: str) -> str:
    return " ".join(rf"{name}=(?:'[\w ]+'|[\w-]+)" for name in names)


GRAMMAR = {
    # nft(8): insert rule [family] table chain; payload, meta, ct and icmp expressions
    "probe.advise.platforms.nftables": [
        assignment("chain"),
        rf'nft "insert rule \$chain ip6? saddr {ADDRESS} ip6? daddr {ADDRESS} '
        rf"(?:meta l4proto (?:esp|ah)|icmp(?:v6)? type echo-(?:request|reply)"
        rf"|(?:(?:udp|tcp) sport {PORT} ?)?(?:(?:udp|tcp) dport {PORT})?) ?"
        r'(?:ct state (?:established|new|new,established) )?(?:accept|drop)"',
    ],
    # iptables(8), iptables-extensions(8)
    "probe.advise.platforms.iptables": [
        rf"ip6?tables -I (?:FORWARD|INPUT|OUTPUT) 1 -s {NET} -d {NET} "
        rf"(?:-p esp|-p ah|-m ah|-p icmp(?:v6)? --icmp(?:v6)?-type echo-(?:request|reply)"
        rf"|-p (?:udp|tcp)(?: --sport {COLON})?(?: --dport {COLON})?) "
        r"(?:-m conntrack --ctstate (?:ESTABLISHED|NEW|NEW,ESTABLISHED) )?-j (?:ACCEPT|DROP)"
    ],
    # firewall-cmd(1), firewalld.richlanguage(5)
    "probe.advise.platforms.firewalld": [
        assignment("near_zone", "far_zone"),
        assignment("zone"),
        r"firewall-cmd --reload",
        r"firewall-cmd --permanent --new-policy=[a-z-]{1,17}",
        r"firewall-cmd --permanent --policy=[a-z-]{1,17} --set-priority=-100",
        r"firewall-cmd --permanent --policy=[a-z-]{1,17} --add-(?:in|e)gress-zone="
        r"(?:\$(?:near|far)_zone|HOST|ANY)",
        r"firewall-cmd --permanent (?:--zone=\$zone|--policy=[a-z-]{1,17}) --add-rich-rule='rule "
        rf'priority="-\d+" family="ipv[46]" source address="{NET}" destination address="{NET}" '
        rf'(?:protocol value="(?:esp|ah)"|icmp-type name="echo-request"'
        rf'|port port="{PORT}" protocol="(?:udp|tcp)") (?:accept|drop)\'',
    ],
    # ufw(8), RULE SYNTAX
    "probe.advise.platforms.ufw": [
        rf"ufw (?:route prepend (?:allow|deny)|prepend (?:allow|deny) (?:in|out)) "
        rf"proto (?:esp|ah|udp|tcp) from {ADDRESS}(?: port {COLON})? to {ADDRESS}(?: port {COLON})?"
    ],
    # OpenBSD pf.conf(5), GRAMMAR: pf-rule
    "probe.advise.platforms.pf": [
        r"(?:pass|block drop)(?: in| out)? quick inet6? proto (?:esp|ah|udp|tcp|icmp6?) "
        rf"from {ADDRESS}(?: port {COLON})? to {ADDRESS}(?: port {COLON})?"
        r"(?: icmp6?-type echoreq)?(?: keep state)?"
    ],
    # Cisco IOS Security Command Reference: ip access-list resequence, permit (IP), permit (IPv6)
    "probe.advise.platforms.cisco_ios": [
        r"ip access-list resequence [A-Z-]+ 1000 10",
        r"(?:ip access-list extended|ipv6 access-list) [A-Z-]+",
        r" (?:sequence )?\d+ (?:permit|deny) (?:esp|ahp) host \S+ host \S+",
        r" (?:sequence )?\d+ (?:permit|deny) icmp host \S+ host \S+ echo(?:-request|-reply)?",
        r" (?:sequence )?\d+ (?:permit|deny) (?:udp|tcp) host \S+(?: eq \d+| range \d+ \d+)? "
        r"host \S+(?: eq \d+| range \d+ \d+)?(?: established)?",
    ],
    # Cisco ASA Series Command Reference, A-H: access-list extended
    "probe.advise.platforms.cisco_asa": [
        r"access-list (?:NEAR|FAR)_IN line 1 extended (?:permit|deny) "
        r"(?:(?:esp|ah) host \S+ host \S+|icmp6? host \S+ host \S+ echo(?:-request|-reply)?"
        r"|(?:udp|tcp) host \S+(?: eq \d+| range \d+ \d+)? host \S+(?: eq \d+| range \d+ \d+)?)"
    ],
    # PAN-OS CLI Quick Start: set, move; PAN-OS Administrator's Guide, Objects > Services
    "probe.advise.platforms.pan_os": [
        r"commit",
        rf"set service probe-[a-z0-9-]+ protocol (?:udp|tcp) port {PORT}(?: source-port {PORT})?",
        r"set rulebase security rules probe-[a-z0-9-]{1,57} from (?:NEAR|FAR)-ZONE to "
        rf"(?:NEAR|FAR)-ZONE source {ADDRESS} destination {ADDRESS} application "
        r"(?:any|[a-z-]+6?|\[(?: [a-z-]+6?)+ \]) service (?:[a-z0-9-]+|\[(?: [a-z0-9-]+)+ \]) "
        r"action (?:allow|deny)",
        r"move rulebase security rules probe-[a-z0-9-]+ top",
    ],
    # FortiOS CLI Reference: firewall address, address6, service custom, policy
    "probe.advise.platforms.fortigate": [
        r"config firewall (?:address6?|service custom|policy)",
        r"end",
        r'    edit (?:0|"probe-[a-z0-9-]{1,25}")',
        r"    next",
        rf"        set (?:subnet|ip6) {NET}",
        r"        set protocol (?:IP|ICMP6?|TCP/UDP/SCTP)",
        r"        set protocol-number 5[01]",
        r"        set icmptype (?:8|128)",
        rf"        set (?:udp|tcp)-portrange {PORT}(?::{PORT})?",
        r'        set name "probe-[a-z-]{1,29}"',
        r'        set (?:src|dst)intf "(?:NEAR|FAR)-PORT"',
        r'        set (?:src|dst)addr6? "probe-(?:near|far)"',
        r'        set service(?: "probe-[a-z0-9-]+")+',
        r'        set schedule "always"',
        r"        set action (?:accept|deny)",
    ],
    # Junos OS CLI Reference: application (Applications), policy (Security), insert, commit
    "probe.advise.platforms.juniper_srx": [
        r"commit confirmed 5",
        rf"set security address-book global address probe-(?:near|far) {NET}",
        r"set applications application probe-[a-z0-9-]+ protocol (?:esp|ah|udp|tcp)"
        rf"(?: source-port {PORT})?(?: destination-port {PORT})?",
        r"set security policies from-zone \S+ to-zone \S+ policy [a-z-]+ match source-address "
        r"probe-(?:near|far) destination-address probe-(?:near|far) application "
        r"(?:[a-z0-9-]+|\[(?: [a-z0-9-]+)+ \])",
        r"set security policies from-zone \S+ to-zone \S+ policy [a-z-]+ then (?:permit|deny)",
        r"insert security policies from-zone \S+ to-zone \S+ policy [a-z-]+ before policy "
        r"FIRST-POLICY",
    ],
    # Microsoft Learn, NetSecurity module: New-NetFirewallRule
    "probe.advise.platforms.windows": [
        r"New-NetFirewallRule -DisplayName 'ipsec-probe [a-z0-9 -]+' -Direction "
        r"(?:Inbound|Outbound) -Action (?:Allow|Block) -LocalAddress "
        rf"{ADDRESS} -RemoteAddress {ADDRESS} -Protocol "
        rf"(?:5[01]|(?:UDP|TCP)(?: -LocalPort {PORT})?(?: -RemotePort {PORT})?"
        r"|ICMPv4 -IcmpType 8|ICMPv6 -IcmpType 128)"
    ],
    # AWS CLI Command Reference, ec2: authorize-security-group-ingress, create-network-acl-entry
    "probe.advise.platforms.aws": [
        assignment("group"),
        assignment("acl"),
        r"aws ec2 authorize-security-group-ingress --group-id \$group --ip-permissions "
        r"'IpProtocol=(?:5[01]|(?:udp|tcp|icmp|icmpv6),FromPort=\d+,ToPort=-?\d+),"
        rf"(?:IpRanges=\[{{CidrIp|Ipv6Ranges=\[{{CidrIpv6)={NET}}}\]'",
        r"aws ec2 create-network-acl-entry --network-acl-id \$acl --ingress --rule-number \d+ "
        rf"--rule-action (?:allow|deny) --(?:ipv6-)?cidr-block {NET} --protocol \d+"
        r"(?: --port-range From=\d+,To=\d+| --icmp-type-code Code=-1,Type=\d+)?",
    ],
    # Azure CLI reference: az network nsg rule create
    "probe.advise.platforms.azure": [
        assignment("group", "nsg"),
        r"az network nsg rule create --resource-group \$group --nsg-name \$nsg --name [a-z0-9-]+ "
        r"--priority (?:[1-9]\d\d|[1-3]\d{3}|40[0-8]\d|409[0-6]) --direction Inbound "
        r"--access (?:Allow|Deny) --protocol (?:Esp|Ah|Udp|Tcp|Icmp) "
        rf"--source-address-prefixes {NET} --source-port-ranges (?:'\*'|{PORT}) "
        rf"--destination-address-prefixes {NET} --destination-port-ranges (?:'\*'|{PORT})",
    ],
    # gcloud reference: compute firewall-rules create
    "probe.advise.platforms.gcp": [
        assignment("network"),
        r"gcloud compute firewall-rules create [a-z](?:[a-z0-9-]{0,61}[a-z0-9])? "
        r"--network=\$network --direction=INGRESS --priority=\d+ --action=(?:ALLOW|DENY) "
        rf"--rules=(?:(?:esp|ah|icmp|58|(?:udp|tcp):{PORT}),?)+ --source-ranges={NET} "
        rf"--destination-ranges={NET}",
    ],
}


def test_every_platform_has_a_grammar_and_names_its_sources() -> None:
    assert set(GRAMMAR) == {module(name) for name in NAMES}
    for name in NAMES:
        assert load(name).SOURCES
        assert all(len(source) > 10 for source in load(name).SOURCES)


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("platform", NAMES)
def test_every_line_is_of_its_syntax(platform: str, family: int) -> None:
    rules = every(family) + every(family, Action.DENY)
    for line in commands(platform, rules + on_hosts(rules)):
        assert any(re.fullmatch(form, line) for form in GRAMMAR[module(platform)]), line


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("platform", NAMES)
def test_no_rule_is_forgotten_without_a_word(platform: str, family: int) -> None:
    """Each rule by itself gives a command, or a comment that says why not."""
    alone = [r for r in every(family) if r.flow is Flow.NEW] + every(family, Action.DENY)
    for each in alone:
        written = list(load(platform).write([each]))
        assert written, each
        if not commands(platform, [each]):
            assert len(" ".join(written)) > 60, each


SHELLS = [name for name in NAMES if name in ("nftables", "iptables", "ufw", "aws", "azure", "gcp")]


@pytest.mark.parametrize("platform", SHELLS)
def test_a_shell_reads_each_line_as_one_command(platform: str) -> None:
    for line in commands(platform, every(6)):
        words = shlex.split(line)
        assert words
        assert not any(character in line for character in ";&|`<>")


@pytest.mark.parametrize(("family", "application"), [(4, "ping"), (6, "ping6")])
def test_pan_os_finds_ping_by_a_name_for_each_family(family: int, application: str) -> None:
    lines = commands("pan-os", [rule(Direction.OUTBOUND, Flow.NEW, family, "icmp")])
    assert any(f" application {application} service" in line for line in lines)


STATELESS = ("cisco-ios",)


@pytest.mark.parametrize("platform", NAMES)
def test_a_firewall_with_state_needs_no_rule_for_foreseen_replies(platform: str) -> None:
    asked = rule(Direction.OUTBOUND, Flow.NEW, 4, "udp", (None, (88, 88)))
    reply = rule(Direction.INBOUND, Flow.REPLY, 4, "udp", (None, (88, 88)))
    alone = commands(platform, [asked])
    both = commands(platform, [asked, replace(reply, foreseen=True)])
    needs = platform in (*STATELESS, "nftables", "iptables")
    assert (len(both) > len(alone)) is needs


@pytest.mark.parametrize("platform", ["aws", "azure", "gcp"])
def test_what_a_cloud_cannot_carry_is_said_with_the_way_out(platform: str) -> None:
    words = " ".join(load(platform).write([rule(Direction.OUTBOUND, Flow.NEW, 4, "esp")]))
    assert "no rule lets IP 50 or 51 through it: allow UDP 4500 and force UDP" in words
    words = " ".join(
        load(platform).write([rule(Direction.OUTBOUND, Flow.NEW, 4, "udp", (None, (500, 500)))])
    )
    assert "IP 50" not in words


@pytest.mark.parametrize("platform", NAMES)
def test_the_place_of_a_host_is_kept(platform: str) -> None:
    """A firewall in the network says that the host's own is not its affair; the others serve it."""
    far = replace(
        rule(Direction.OUTBOUND, Flow.NEW, 4, "esp"), place=Place.FAR, way=Way.IN, title="ESP"
    )
    words = " ".join(load(platform).write([far]))
    if platform in ("nftables", "iptables", "firewalld", "ufw", "pf", "windows"):
        assert commands(platform, [far])
        assert "far (10.0.0.5)" in words
    else:
        assert not commands(platform, [far])
        assert "dropped by the own firewall of far (10.0.0.5)" in words


def test_fragments_are_told_where_no_rule_is_about_them() -> None:
    large = replace(
        rule(Direction.OUTBOUND, Flow.NEW, 4, "udp", (None, (500, 500))),
        fragments=True,
        only_large=True,
    )
    for platform in NAMES:
        assert "ragment" in " ".join(load(platform).write([large])), platform


def test_did_you_mean() -> None:
    for typed, meant in (
        ("nft", "nftables"),
        ("cisco_asa", "cisco-asa"),
        ("juniper", "juniper-srx"),
        ("Azure", "azure"),
    ):
        with pytest.raises(UnknownPlatform, match=f"did you mean '{meant}'"):
            load(typed)
    with pytest.raises(UnknownPlatform, match="there are aws, azure"):
        load("zzz")
    assert platforms.names() == tuple(sorted(platforms.names()))


def test_comments_fold_and_commands_do_not() -> None:
    from tests.samples import lost, result, whole

    run = result(whole("ike"), lost("esp"), lost("ah"))
    for name in NAMES:
        comment = load(name).COMMENT
        for line in text.rules(run, name).splitlines():
            assert len(line) <= 80 or not line.startswith(comment), line
