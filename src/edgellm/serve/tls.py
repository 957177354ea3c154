"""TLS by certificate files, and who may be let in without it."""

from __future__ import annotations

import ssl
from ipaddress import ip_address
from pathlib import Path

from edgellm.errors import BadInput, UsageError


def check_certificate(certificate: Path, key: Path) -> None:
    """Find out now, and not when the server begins to listen, whether the two files serve for TLS.

    Raises UsageError where one is missing or needs a password, BadInput where they do not go together.
    """
    for path in (certificate, key):
        if not path.is_file():
            raise UsageError(f"there is no file {path}; give the certificate chain and its key as PEM files")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=lambda: refuse_password(key))
    except ssl.SSLError as error:
        reason = error.reason or str(error)
        raise BadInput(f"{certificate} and {key} are no certificate and its key in PEM form ({reason})") from None


def refuse_password(key: Path) -> str:
    raise UsageError(f"{key} is locked with a password, and a server has nobody to ask; give a key without one")


def is_loopback(host: str) -> bool:
    """Whether only programs of this machine reach the address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_exposure(host: str, *, keys: bool, tls: bool, insecure: bool) -> str | None:
    """What to warn of when the server listens on `host`, if anything.

    Raises UsageError for an address that others reach where neither keys nor TLS protect it and nobody said that
    this is meant.
    """
    if is_loopback(host) or insecure or (keys and tls):
        return None
    if not keys and not tls:
        raise UsageError(
            f"others can reach {host}, and nothing would protect the model: give --api-key-file and --tls-cert with "
            "--tls-key, or say --insecure"
        )
    if keys:
        return f"keys and texts cross the network to {host} unencrypted; give --tls-cert and --tls-key to prevent it"
    return f"anyone who reaches {host} may use the model; give --api-key-file to prevent it"
