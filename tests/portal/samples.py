"""What a client is told that is looked at."""

from __future__ import annotations

from datetime import UTC, datetime

from twistedproxy.access.interception import ALL_BUT
from twistedproxy.portal.facts import Certificate, Facts
from twistedproxy.tls.authority import make_authority

AUTHORITY = make_authority(datetime(2026, 1, 1, tzinfo=UTC))
CERTIFICATE = Certificate.of(AUTHORITY)
SEEN = Facts("proxy.test", ALL_BUT, "192.0.2.7", True, CERTIFICATE, "http://192.0.2.1:8080")
