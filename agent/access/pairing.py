"""Two hosts that know the same short code come to hold the same key. Sans-IO.

SPAKE2 (Abdalla and Pointcheval; RFC 9382 has its idea, the library ``spake2`` its own encoding):
who does not know the code learns nothing by listening, and by taking part only whether one guess
was right. Near proves first that it knows the code, so the far end gives nothing away to a wrong
guess, and the first proof that comes, right or wrong, uses the code up.

    near → far  version, element          far → near  element
    near → far  proof, near's name        far → near  proof, the name under which far keeps the key

Each message is one octet with its length, then that many octets; one without any, from far, says
that nothing will come of it. The key is never sent: both ends
derive it. ``binding`` names the TLS connection underneath (RFC 5929), so that somebody who stands
in between, with a connection to either end, fails like a wrong code. The library's arithmetic does
not take constant time; a code lives for one exchange, so there is nothing to be averaged.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from agent.errors import AgentError

VERSION = 1
LIFETIME = 600.0  # seconds for which a code may be used
MOST_BEGUN = 30  # exchanges that were begun with one code and not finished
DIGITS = 8  # of which one guess in 100 million is right, and one to check them by
LONGEST_NAME = 64  # octets

OPEN_KEY = hashlib.sha256(b"ipsec-probe pairing: everybody holds this key").digest()
"""What the TLS below a pairing is made with: no secret, and it opens nothing but this exchange."""

GOODBYE = b"\0"  # far's, when it is stopped in between; it is proof of nothing
_ELEMENT = 33  # octets: the library's letter for the side, and a point
_PROOF = 32

Entropy = Callable[[int], bytes]  # as os.urandom


class PairingError(AgentError):
    """A pairing that does not come about. The text is fit for a user, and holds no secret."""


class WrongCode(PairingError):
    """The other end does not know the code. It is used up by that."""


# -- codes -------------------------------------------------------------------------------------


def new_code(entropy: Entropy) -> str:
    """Nine digits to be read aloud: ``482-915-034``. The last one is a check on the others."""
    digits = f"{int.from_bytes(entropy(16), 'big') % 10**DIGITS:0{DIGITS}}"
    whole = digits + _check_digit(digits)
    return "-".join(whole[place : place + 3] for place in range(0, len(whole), 3))


def read_code(text: str) -> str:
    """A code as it was typed → its digits. PairingError for one that cannot have been shown.

    So a slip of the finger does not cost the one guess.
    """
    digits = "".join(character for character in text if character not in " -.")
    if len(digits) != DIGITS + 1 or not (digits.isascii() and digits.isdigit()):
        raise PairingError(f"a pairing code has {DIGITS + 1} digits, as in 482-915-034")
    if digits[-1] != _check_digit(digits[:-1]):
        raise PairingError(
            "there is a typing error in the pairing code: its last digit does not fit the others. "
            "Nothing was sent; try again"
        )
    return digits


def _check_digit(digits: str) -> str:
    """ISO/IEC 7064, MOD 11,10: finds every wrong digit and nearly every exchange of two."""
    product = 10
    for digit in digits:
        total = (product + int(digit)) % 10 or 10
        product = total * 2 % 11
    return str((11 - product) % 10)


@dataclass(slots=True)
class Offer:
    """A code that far shows, and what became of it. ``now``: any clock that does not step."""

    code: str = field(repr=False)  # as it is shown
    expires: float
    _begun: int = 0
    _spent: bool = False

    def is_open(self, now: float) -> bool:
        return not self._spent and now < self.expires

    def begin(self, now: float) -> bool:
        """False when no exchange may begin. One that breaks off has not used the code up."""
        if self._begun >= MOST_BEGUN:
            self._spent = True
        self._begun += 1
        return self.is_open(now)

    def spend(self, now: float) -> bool:
        """The one guess: True once, and only in time."""
        was_open = self.is_open(now)
        self._spent = True
        return was_open


# -- the exchange ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Paired:
    name: str  # near's own at far; at near, the one under which far keeps the key
    key: bytes = field(repr=False)  # 32 octets


class _End:
    """What both ends do alike. Any error is the end of it."""

    def __init__(self, binding: bytes, entropy: Entropy) -> None:
        self.paired: Paired | None = None
        self._binding = binding
        self._entropy = entropy
        self._buffer = bytearray()
        self._over = False
        self._spake: Any = None
        self._shared = b""

    def _message(self, data: bytes) -> bytes | None:
        """The next message, whole; None when more must come."""
        if self._over:
            raise PairingError("the pairing is over")
        self._buffer += data
        if not self._buffer or len(self._buffer) <= self._buffer[0]:
            return None
        if len(self._buffer) > self._buffer[0] + 1:
            raise self._ended("the other end said more than its turn")
        message = bytes(self._buffer[1:])
        self._buffer.clear()
        return message

    def _ended(self, why: str, kind: type[PairingError] = PairingError) -> PairingError:
        self._over = True
        return kind(why)

    def _element(self, code: str, near: bool) -> bytes:
        from spake2 import SPAKE2_A, SPAKE2_B

        ids = [b"ipsec-probe pairing %d " % VERSION + end + self._binding for end in _ENDS]
        new = SPAKE2_A if near else SPAKE2_B
        self._spake = new(code.encode("ascii"), *ids, entropy_f=self._entropy)
        return bytes(self._spake.start())

    def _agree(self, element: bytes) -> None:
        """PairingError for what is no element of the other end's."""
        from spake2 import SPAKEError
        from spake2.ed25519_basic import NotOnCurve

        if len(element) != _ELEMENT:
            raise self._ended("the other end does not pair as this version does")
        try:
            self._shared = self._spake.finish(element)
        except (SPAKEError, NotOnCurve, ValueError, AssertionError):
            raise self._ended("the other end sent no element of the group") from None

    def _proof(self, end: bytes, name: bytes) -> bytes:
        return hmac.digest(self._derived(b"proof of " + end), name, "sha256")

    def _derived(self, purpose: bytes) -> bytes:
        return hmac.digest(self._shared, b"ipsec-probe pairing: " + purpose, "sha256")

    def _check(self, end: bytes, message: bytes) -> str:
        """The name in a message that proves it. WrongCode when it does not."""
        proof, name = message[:_PROOF], message[_PROOF:]
        if not hmac.compare_digest(proof, self._proof(end, name)):
            raise self._ended("the other end does not know the pairing code", WrongCode)
        try:
            return name.decode("utf-8")
        except UnicodeDecodeError:
            raise self._ended("the other end has a name that is none") from None

    def _key(self) -> bytes:
        return self._derived(b"key")


class Near(_End):
    """Where the code was typed. ``code``: its digits; ``name``: what far may call this operator."""

    def __init__(self, code: str, binding: bytes, name: str, entropy: Entropy) -> None:
        super().__init__(binding, entropy)
        self._code = code
        self._name = name.encode("utf-8")[:LONGEST_NAME]

    def begin(self) -> bytes:
        """What to say first."""
        return _framed(bytes([VERSION]) + self._element(self._code, near=True))

    def receive(self, data: bytes) -> bytes:
        """What to say next, if anything. PairingError or WrongCode; ``paired`` when it is done."""
        message = self._message(data)
        if message is None:
            return b""
        if not message:
            raise self._ended("the agent broke the pairing off: it was stopped, or crowded")
        if not self._shared:
            self._agree(message)
            return _framed(self._proof(_NEAR, self._name) + self._name)
        name = self._check(_FAR, message)
        self._over = True
        self.paired = Paired(name, self._key())
        return b""


class Far(_End):
    """Where the code is shown. Once ``paired``, far keeps the key and then says ``confirm``."""

    def __init__(self, offer: Offer, binding: bytes, entropy: Entropy) -> None:
        super().__init__(binding, entropy)
        self._offer = offer

    def receive(self, data: bytes, now: float) -> bytes:
        """What to say next, if anything. PairingError or WrongCode."""
        message = self._message(data)
        if message is None:
            return b""
        if not self._shared:
            return self._begun(message, now)
        if self.paired is not None:
            raise self._ended("the other end said more than its turn")
        if not self._offer.spend(now):
            raise self._ended("the pairing code is used up")
        self.paired = Paired(self._check(_NEAR, message), self._key())
        return b""

    def _begun(self, message: bytes, now: float) -> bytes:
        if message[:1] != bytes([VERSION]):
            raise self._ended("the other end does not pair as this version does")
        if not self._offer.begin(now):
            raise self._ended("the pairing code is used up")
        element = self._element(read_code(self._offer.code), near=False)
        self._agree(message[1:])
        return _framed(element)

    def confirm(self, name: str) -> bytes:
        """The last word: the key is kept, under that name."""
        assert self.paired is not None
        self._over = True
        told = name.encode("utf-8")[:LONGEST_NAME]
        return _framed(self._proof(_FAR, told) + told)


_ENDS = _NEAR, _FAR = b"near", b"far"


def _framed(message: bytes) -> bytes:
    return bytes([len(message)]) + message
