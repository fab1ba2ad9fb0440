"""What went before, in plain words: what may have opened a way, or may stand in it."""

from __future__ import annotations

from agent.model import Check, Direction, Prior, Side
from probe.judge.tracks import origin, target


def _own(check: Check) -> str:
    """What this run had asked the other way."""
    outbound = check.direction is Direction.OUTBOUND
    return f"this run's own {'inbound' if outbound else 'outbound'} {_kind(check)}"


def _ago(prior: Prior) -> str:
    return f"{prior.seconds:.0f} seconds ago" if prior.seconds else "lately"


def opened_by_prior(side: Side, prior: Prior) -> str:
    return (
        f"it arrived, but {side} saw {prior.what} on the same addresses {_ago(prior)}, and a "
        "stateful firewall may have let this in as part of that"
    )


def opened_by_lost_prior(side: Side, prior: Prior) -> str:
    return (
        f"it arrived, but {prior.what} left {side} on the same addresses {_ago(prior)}; wherever "
        "that was dropped, a stateful firewall before that point may have let this in as part of it"
    )


def opened_unseen(check: Check) -> str:
    return (
        f"it arrived, but {_own(check)} may have crossed before, while "
        f"{origin(check)} could not see it, and a stateful firewall may have let this in as part "
        "of it"
    )


def opened_on_the_way(check: Check) -> str:
    return (
        f"it arrived, but {_own(check)} had left before and was dropped on "
        "a path of several routers; a stateful firewall before that point may have let this in as "
        "part of it (ask this direction alone, or with --alias)"
    )


def opened_by_live(check: Check, side: Side) -> str:
    return (
        f"it arrived, but {side} saw {_kind(check)} traffic that is not ours between the two "
        "hosts during the run, and a stateful firewall may have let this in as part of that"
    )


def opened_by_control(check: Check) -> str:
    return (
        f"it arrived, but control messages rode in {_kind(check)} packets between the two hosts, "
        "for want of a control port, and a stateful firewall may have let this in as part of that"
    )


def swayed(check: Check) -> str:
    return (
        f"it arrived, but near's control messages had gone out in {_kind(check)} packets before, "
        "for want of a control port: whether a new flow gets in without them cannot be told. Let "
        "the agent's TCP port through for one run"
    )


def translated_now(check: Check, address: str) -> str:
    return f"{_own(check)} had been translated to {address} before"


def translated_before(prior: Prior) -> str:
    return f"{prior.what} had come the other way {_ago(prior)}"


def collided(check: Check, before: str) -> str:
    return (
        f"{before}, and whatever did that may hold it against this: not known. Ask again when it "
        f"is forgotten, this way alone: --direction {check.direction} in ten minutes"
    )


def opened_by_run(check: Check) -> str:
    return (
        f"it arrived, but {_own(check)} had passed before on the same "
        "addresses, so a stateful firewall would have let it in without a rule of its own"
    )


def opened_at_host(check: Check) -> str:
    sink = target(check)
    return (
        f"it crossed the network as a new flow; but {sink} had itself sent {_kind(check)} before, "
        f"so {sink}'s own stateful firewall may have let it in for that alone"
    )


def _kind(check: Check) -> str:
    return {"esp": "ESP", "ah": "AH", "ike": "IKE"}.get(check.kind, check.kind)
