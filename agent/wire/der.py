"""As much of DER (X.690) as Kerberos messages need: lengths, elements, and their change."""

from __future__ import annotations

from agent.errors import WireError

CONSTRUCTED = 0x20
GENERAL_STRING = 0x1B
DEEPEST = 32  # elements within each other; Kerberos messages have a dozen


def length_octets(length: int) -> bytes:
    """The shortest form of a length, as DER wants it."""
    if length < 128:
        return bytes((length,))
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((0x80 | len(octets),)) + octets


def element(data: bytes, at: int = 0) -> tuple[int, int, int]:
    """The element at ``at``: (its tag octet, where its contents begin, where they end).

    WireError when it breaks off, or uses what Kerberos does not (long tags, indefinite lengths).
    """
    if at + 2 > len(data):
        raise WireError("an ASN.1 element breaks off")
    tag, length, start = data[at], data[at + 1], at + 2
    if tag & 0x1F == 0x1F:
        raise WireError("an ASN.1 tag of more than one octet")
    if length >= 128:
        count = length - 128
        if not 1 <= count <= 4:
            raise WireError("an ASN.1 length that Kerberos cannot have")
        length = int.from_bytes(data[start : start + count], "big")
        start += count
    if start + length > len(data):
        raise WireError("an ASN.1 element breaks off")
    return tag, start, start + length


def grown(data: bytes, at: int, filling: bytes, depth: int = 0) -> bytes:
    """``data`` with ``filling`` added to the octet string that begins ``at``, all lengths mended.

    Octet strings that enclose it are taken for what they hold. WireError when nothing begins
    there, or too much is nested.
    """
    _check_depth(depth)
    position = 0
    while position < len(data):
        _, start, end = element(data, position)
        if start <= at < end:
            inner = data[start:end]
            inner = inner + filling if start == at else grown(inner, at - start, filling, depth + 1)
            tag = data[position : position + 1]
            return data[:position] + tag + length_octets(len(inner)) + inner + data[end:]
        position = end
    raise WireError("no ASN.1 element begins there")


def renamed(data: bytes, old: bytes, new: bytes, depth: int = 0) -> bytes:
    """``data`` with every GeneralString that reads ``old`` made to read ``new``, lengths mended."""
    _check_depth(depth)
    result, position = b"", 0
    while position < len(data):
        tag, start, end = element(data, position)
        inner = data[start:end]
        if tag & CONSTRUCTED:
            inner = renamed(inner, old, new, depth + 1)
        elif tag == GENERAL_STRING and inner == old:
            inner = new
        result += data[position : position + 1] + length_octets(len(inner)) + inner
        position = end
    return result


def _check_depth(depth: int) -> None:
    if depth > DEEPEST:
        raise WireError(f"more than {DEEPEST} ASN.1 elements within each other")


def grown_to(data: bytes, at: int, size: int) -> bytes:
    """``data`` with zeros added behind the contents that begin ``at``, up to ``size`` octets.

    A length that needs one more octet skips a size: then it is the next smaller one.
    """
    missing = size - len(data)
    while missing > 0:
        result = grown(data, at, bytes(missing))
        if len(result) <= size:
            return result
        missing -= 1
    return data
