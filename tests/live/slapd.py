"""A directory of LDAP: OpenLDAP's server on loopback, as nobody, with a few accounts."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from base64 import b64encode
from pathlib import Path
from typing import Final

import trustme

from tests.ports import free_port
from twistedproxy.accounts.ldap.names import escaped

SLAPD: Final = "/usr/sbin/slapd"
SUFFIX: Final = "dc=example,dc=org"
PEOPLE: Final = f"ou=people,{SUFFIX}"
SERVICE: Final = f"cn=service,{SUFFIX}"
PATIENCE: Final = 20.0

_SETTINGS = """\
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
TLSCertificateFile {place}/leaf.pem
TLSCertificateKeyFile {place}/leaf.pem
security {security}
database mdb
maxsize 16777216
suffix "dc=example,dc=org"
directory {place}/data
rootdn "cn=admin,dc=example,dc=org"
rootpw secret
overlay memberof
access to attrs=userPassword by anonymous auth by * none
access to dn.subtree="ou=hidden,dc=example,dc=org" by * none
access to * by * read
"""


class Slapd:
    """A running server, stopped by `stop`; ``security`` is what it wants of its clients."""

    def __init__(self, security: str = "ssf=0") -> None:
        self.place = Path(tempfile.mkdtemp(prefix="slapd-"))
        self.authority = trustme.CA()
        self.anchors = self.place / "authority.pem"
        self.authority.cert_pem.write_to_path(str(self.anchors))
        self.authority.issue_cert("127.0.0.1", "localhost").private_key_and_cert_chain_pem.write_to_path(
            str(self.place / "leaf.pem")
        )
        (self.place / "data").mkdir()
        self._security = security
        self.plain, self.secured = free_port(), free_port()
        self._process: subprocess.Popen[bytes] | None = None
        if os.getuid() == 0:
            nobody = pwd.getpwnam("nobody")
            for path in (self.place, *self.place.iterdir()):
                os.chown(path, nobody.pw_uid, nobody.pw_gid)
        self.start()
        self._fill()

    def __repr__(self) -> str:
        return f"<Slapd {self.plain} {self.secured}>"

    @property
    def url(self) -> str:
        """With TLS only where a client asks for it."""
        return f"ldap://127.0.0.1:{self.plain}"

    @property
    def secured_url(self) -> str:
        return f"ldaps://127.0.0.1:{self.secured}"

    def start(self) -> None:
        """Start it, again with what it had."""
        settings = self.place / "slapd.conf"
        settings.write_text(_SETTINGS.format(place=self.place, security=self._security))
        account = ("-u", "nobody", "-g", "nogroup") if os.getuid() == 0 else ()
        command = [SLAPD, "-f", str(settings), "-h", f"{self.url}/ {self.secured_url}/", "-d", "0", *account]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + PATIENCE
        for port in (self.plain, self.secured):
            while not _accepts(port):
                assert self._process.poll() is None, "slapd has ended"
                assert time.monotonic() < until, "slapd does not listen"

    def signal(self, number: int) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def end(self) -> None:
        """End it, and keep what it has."""
        assert self._process is not None
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        self._process.wait(PATIENCE)

    def stop(self) -> None:
        """End it for good."""
        self.end()
        shutil.rmtree(self.place)

    def _fill(self) -> None:
        self.add(SUFFIX, objectClass=["dcObject", "organization"], dc=["example"], o=["Example"])
        for unit in ("people", "groups", "hidden"):
            self.add(f"ou={unit},{SUFFIX}", objectClass=["organizationalUnit"], ou=[unit])
        kinds = ["simpleSecurityObject", "organizationalRole"]
        self.add(SERVICE, objectClass=kinds, cn=["service"], userPassword=["service"])
        self.people({"ann": "secret", "bob": "word"})
        self.people({"eve": "secret"}, unit="hidden")
        self.group("staff", "ann", "bob")
        self.group("admins", "ann")
        self.group("two words", "ann")

    def add(self, dn: str, **entry: list[str]) -> None:
        """Add an entry."""
        self._say(_ldif(dn, entry))

    def people(self, passwords: dict[str, str], unit: str = "people", **more: list[str]) -> None:
        """Add accounts with passwords."""
        self._say(
            "\n".join(
                _ldif(
                    f"uid={escaped(name)},ou={unit},{SUFFIX}",
                    {"objectClass": ["inetOrgPerson"], "uid": [name], "cn": [name], "sn": ["x"]}
                    | {"userPassword": [password], **more},
                )
                for name, password in passwords.items()
            )
        )

    def group(self, name: str, *members: str) -> None:
        """Add a group of people."""
        dns = [f"uid={member},{PEOPLE}" for member in members]
        self.add(f"cn={name},ou=groups,{SUFFIX}", objectClass=["groupOfNames"], cn=[name], member=dns)

    def _say(self, ldif: str) -> None:
        command = ["ldapadd", "-x", "-H", self.secured_url, "-D", f"cn=admin,{SUFFIX}", "-w", "secret"]
        environment = os.environ | {"LDAPTLS_CACERT": str(self.anchors)}
        done = subprocess.run(
            command, input=ldif, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        assert done.returncode == 0, done.stderr


def _ldif(dn: str, entry: dict[str, list[str]]) -> str:
    lines = [("dn", dn), *((name, value) for name, values in entry.items() for value in values)]
    return "".join(f"{name}:: {b64encode(value.encode()).decode()}\n" for name, value in lines)


def _accepts(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
