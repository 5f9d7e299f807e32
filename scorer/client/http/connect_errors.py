"""Words for what ends a connection: names, certificates, TLS. Opens none."""

from __future__ import annotations

import socket
import ssl
from typing import Any, TypeGuard

from scorer.errors import Unreachable
from scorer.escapes import printable_line

CUT = "the connection ended without TLS's close_notify: the end of the reply may be missing"
_OUT_OF_DATE = (9, 10)
"""OpenSSL's codes of a certificate that is not valid yet, and of one that has expired."""
_NO_CERTIFICATE = "TLSV13_ALERT_CERTIFICATE_REQUIRED"
_CLIENT_CERTIFICATE = "Put something before it that does, such as nginx or stunnel."
_OLD_TLS = "It speaks TLS 1.0 or 1.1 alone; 1.2 is the oldest that is accepted here."
_HINTS = {
    _NO_CERTIFICATE: f"It asks clients for a certificate, and scorer sends none. {_CLIENT_CERTIFICATE}",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": (
        "It has no cipher in common with this machine, or asks clients for a certificate, and scorer sends none. "
        + _CLIENT_CERTIFICATE
    ),
    "TLSV1_ALERT_PROTOCOL_VERSION": _OLD_TLS,
    "UNSUPPORTED_PROTOCOL": _OLD_TLS,
    "TLSV1_UNRECOGNIZED_NAME": "It serves no host of that name: check model.base_url.",
}
"""By OpenSSL's reason. TLS 1.2 has no alert of its own for a certificate that is missing."""


def _why(error: OSError) -> str:
    """What went wrong, on one line."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return printable_line(f"its certificate is not valid here: {error.verify_message.rstrip('.')}")
    return printable_line(error.strerror or str(error) or type(error).__name__)


def hint(error: OSError) -> str | None:
    """What to check where this is how a run begins; None for what a server that is down or still starting shows too."""
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in _OUT_OF_DATE:
            return "Its certificate has to be renewed on the server, or the clock of this machine is wrong."
        return (
            "Its certificate is not trusted here: check model.base_url. If an authority of your own signed it, name "
            "that one's file in the environment variable SSL_CERT_FILE."
        )
    if isinstance(error, ssl.SSLError):
        return _HINTS.get(
            error.reason or "",
            "It does not speak TLS as asked: check model.base_url, its port, and whether it begins with http://.",
        )
    if isinstance(error, socket.gaierror) and error.errno == socket.EAI_NONAME:
        return "No such host is known: check model.base_url."
    return None


def unreachable(shown: str, error: OSError) -> Unreachable:
    """Not billed, with a hint where that is plain. `shown` is the address that was not reached."""
    return Unreachable(f"cannot reach {shown}: {_why(error)}", hint=hint(error))


def never_admitted(error: BaseException | None) -> TypeGuard[ssl.SSLError]:
    """True where the server refused the client once the client had finished its handshake: it read no request."""
    return isinstance(error, ssl.SSLError) and error.reason == _NO_CERTIFICATE


def cut_off(transport: Any) -> bool:
    """True where a TLS connection has ended and its server had not closed it (RFC 9112, 9.8). False without TLS."""
    tls = transport.get_extra_info("ssl_object")
    if tls is None:
        return False
    try:
        return bool(tls.read(1))  # b"" after close_notify
    except ssl.SSLZeroReturnError:
        return False
    except ssl.SSLError:
        return True
