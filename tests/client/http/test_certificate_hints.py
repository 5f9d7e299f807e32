"""Promise: what is said of a certificate that is refused fits the reason."""

from __future__ import annotations

import datetime
import ssl

import pytest
import trustme

from scorer.client.http.connect_errors import hint


def refused(*, expired: bool) -> ssl.SSLCertVerificationError:
    """What a handshake in memory fails with: the authority is trusted where the certificate has expired."""
    authority = trustme.CA()
    yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    certificate = authority.issue_cert("judge.test", not_after=yesterday if expired else None)
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    certificate.configure_cert(server)
    if expired:
        authority.configure_trust(client)
    ends = [ssl.MemoryBIO(), ssl.MemoryBIO()]
    asks = client.wrap_bio(ends[0], ends[1], server_hostname="judge.test")
    serves = server.wrap_bio(ends[1], ends[0], server_side=True)
    for side in (asks, serves, asks):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLCertVerificationError as error:
            return error
    raise AssertionError("the handshake should fail")


@pytest.mark.parametrize(("expired", "says"), [(True, "renewed on the server"), (False, "is not trusted here")])
def test_hint_names_what_to_do_about_the_certificate(expired: bool, says: str) -> None:
    assert says in (hint(refused(expired=expired)) or "")
