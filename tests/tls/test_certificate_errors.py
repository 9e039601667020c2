"""What is said of a server's certificate that was refused."""

from __future__ import annotations

from tests.error_tree import every_error
from twistedproxy.errors import TLSFailed, UpstreamError
from twistedproxy.tls import certificate_errors
from twistedproxy.tls.certificate_errors import CertificateRefused


def test_each_is_a_refusal_of_the_server_and_tells_the_same_to_machines() -> None:
    kinds = {thing for thing in vars(certificate_errors).values() if isinstance(thing, type)} - {TLSFailed}
    assert kinds == set(every_error(CertificateRefused))
    assert len(kinds) == 19
    for kind in kinds:
        assert (kind.status, kind.proxy_status) == (502, "tls_certificate_error")
        assert issubclass(kind, UpstreamError)


def test_each_check_has_a_word_of_its_own() -> None:
    assert len({kind.reason for kind in every_error(CertificateRefused)}) == 19
