"""What may listen on an agent's port and is none, or is one of another version.

Run as a program in far: ``python -m tests.netns.strangers ADDRESS KEY``. It prints "ready".
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from agent.access import keys, tls
from agent.control import Closed, Oops, Welcome, encode

LATER = 7  # a protocol of the future
WELCOME = Welcome(LATER, "9.9.9", "far", "10.77.2.2", "10.77.1.2")
OTHER = Oops("version", "the agent is version 9.9.9 (protocol 7). Install the same version on both")


def garbage(sock: socket.socket) -> None:
    sock.sendall(b"\x00garbage\xff" * 1000)
    sock.recv(10_000)


def http(sock: socket.socket) -> None:
    sock.recv(10_000)
    sock.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


def mute(sock: socket.socket) -> None:
    time.sleep(60)


def closing(sock: socket.socket) -> None:
    """Nothing is said at all."""


PLAIN: dict[str, Callable[[socket.socket], None]] = {
    "garbage": garbage,
    "http": http,
    "mute": mute,
    "closing": closing,
}
# Behind TLS with the right key: what follows the greeting.
LIKE_AGENTS = {
    "later": encode(WELCOME),
    "refusing": encode(OTHER),
    "confused": encode(Closed()),
    "babbling": b"<html>\n",
    "hanging-up": b"",
}
TLS = "foreign-tls"
NAMES = (*PLAIN, *LIKE_AGENTS, TLS)
PORTS = {name: 7001 + place for place, name in enumerate(NAMES)}


def foreign() -> ssl.SSLContext:
    """A web server with a certificate of its own."""
    import datetime
    import tempfile

    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private = Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "www.example.org")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(1)
        .not_valid_before(datetime.datetime(2000, 1, 1))
        .not_valid_after(datetime.datetime(2100, 1, 1))
        .sign(private, None)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as file:
        file.write(
            private.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        file.flush()
        context.load_cert_chain(file.name)
    return context


def behaviour(name: str, key: bytes) -> Callable[[socket.socket], None]:
    if name in PLAIN:
        return PLAIN[name]
    context = foreign() if name == TLS else tls.context(key, server=True)

    def speak(sock: socket.socket) -> None:
        with context.wrap_socket(sock, server_side=True) as link:
            link.recv(10_000)
            link.sendall(LIKE_AGENTS.get(name, b""))
            if LIKE_AGENTS.get(name):
                link.recv(10_000)

    return speak


def serve(address: str, name: str, key: bytes) -> None:
    listener = socket.create_server((address, PORTS[name]))
    speak = behaviour(name, key)

    def one(sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            speak(sock)

    def forever() -> None:
        while True:
            threading.Thread(target=one, args=[listener.accept()[0]], daemon=True).start()

    threading.Thread(target=forever, daemon=True).start()


def main(address: str, key: str) -> None:
    for name in NAMES:
        serve(address, name, keys.load(Path(key)))
    print("ready", flush=True)
    time.sleep(600)


if __name__ == "__main__":
    main(*sys.argv[1:])
