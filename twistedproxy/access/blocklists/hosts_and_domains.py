"""Lines of three formats that name hosts one by one: plain domains, hosts files, and dnsmasq's configuration."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from twistedproxy.access.blocklists.names import is_address, listed_name
from twistedproxy.access.blocklists.report import Bad, Skipped
from twistedproxy.access.blocklists.rules import ALL, NameRule, excepted, name_rule

MOST_NAMES: Final = 64
"""How many names a line may have."""

_OWN: Final = frozenset(
    (
        b"localhost",
        b"localhost.localdomain",
        b"local",
        b"broadcasthost",
        b"ip6-localhost",
        b"ip6-loopback",
        b"ip6-localnet",
        b"ip6-mcastprefix",
        b"ip6-allnodes",
        b"ip6-allrouters",
        b"ip6-allhosts",
        b"0.0.0.0",
    )
)
"""What hosts files say of the machine itself."""

DNSMASQ: Final = (b"address=/", b"server=/", b"local=/")


def domain_rules(text: bytes, subdomains: bool) -> Iterator[NameRule]:
    """``example.com``, with a comment perhaps. Raises `Bad`."""
    words = text.split(b"#", 1)[0].split()
    if len(words) != 1:
        raise Bad("more than one word")
    yield name_rule(words[0], subdomains)


def is_hosts_line(text: bytes) -> bool:
    """Whether it begins with an address and goes on."""
    words = text.split(None, 2)
    if len(words) < 2 or words[1].startswith(b"#"):
        return False
    first = listed_name(words[0])
    return first is not None and is_address(first)


def hosts_rules(text: bytes, subdomains: bool) -> Iterator[NameRule]:
    """``0.0.0.0 example.com www.example.com``: an address, whichever, and the names that it would be for.

    Raises `Bad`.
    """
    address, *names = text.split(b"#", 1)[0].split()
    read = listed_name(address)
    if read is None or not is_address(read):
        raise Bad("no address at the beginning")
    if not names:
        raise Bad("no name after the address")
    if len(names) > MOST_NAMES:
        raise Bad(f"more than {MOST_NAMES} names")
    for name in names:
        if name.lower() in _OWN:
            continue
        yield name_rule(name, subdomains)


def dnsmasq_rules(text: bytes) -> Iterator[NameRule]:
    """``address=/example.com/0.0.0.0``, ``server=/example.com/`` and ``local=/example.com/``, each for all below too.

    ``server=/example.com/#`` is an exception. Raises `Bad`, and `Skipped` for what sends questions elsewhere.
    """
    option, _, rest = text.split(b"#", 1)[0].strip().partition(b"=")
    # The character stands for the usual servers too.
    usual = text.rstrip().endswith(b"/#")
    *names, where = rest.removeprefix(b"/").split(b"/")
    if not names or not names[0]:
        raise Bad("no name between the slashes")
    if len(names) > MOST_NAMES:
        raise Bad(f"more than {MOST_NAMES} names")
    if option != b"address" and where and not usual:
        raise Skipped
    if option == b"address" and where and not is_address(listed_name(where) or b""):
        raise Bad("no address after the names")
    for name in names:
        read = listed_name(name.removeprefix(b"*").removeprefix(b"."))
        if read is None or is_address(read):
            raise Bad("not a name between the slashes")
        rule = NameRule(read, ALL)
        yield excepted(rule) if usual and option != b"address" else rule
