"""Lines of lists for ad blockers, of which a proxy can act on those that name a host, or paths at one.

``||example.com^`` is a host and all below it, ``||example.com/ads/*.js`` paths there, ``|https://example.com/x`` what
begins so, ``@@`` before any of them an exception, and ``/.../`` a regular expression. What depends on the page that a
request belongs to, on its kind, or changes pages is skipped.
"""

from __future__ import annotations

import re
from typing import Final

from twistedproxy.access.blocklists.names import is_address, listed_name
from twistedproxy.access.blocklists.report import Bad, Skipped
from twistedproxy.access.blocklists.rules import ALL, NameRule, PathRule, RegexRule, Rule, excepted
from twistedproxy.access.blocklists.table import SELF

COSMETIC: Final = re.compile(rb"#(?:@?[?$%]{0,2}#|@#)")
"""What stands in rules that change pages."""

_OPTIONS: Final = re.compile(rb"\$([a-z0-9~_-]+(?:=[^,]*)?(?:,[a-z0-9~_-]+(?:=[^,]*)?)*)$", re.IGNORECASE)
# Those under which a rule is for all that is asked of a host.
_FOR_ALL: Final = frozenset((b"important", b"all", b"document", b"doc", b"match-case"))
_HOST_END: Final = re.compile(rb"[/^:?*|]|$")
_LONGEST_PATH: Final = 1024
_MOST_STARS: Final = 16


def adblock_rule(text: bytes) -> Rule:
    """What a line is. Raises `Bad`, and `Skipped` for what cannot be acted on."""
    if COSMETIC.search(text):
        raise Skipped
    passes = text.startswith(b"@@")
    rule = text[2:] if passes else text
    if len(rule) > 2 and rule.startswith(b"/") and rule.endswith(b"/"):
        if passes:
            raise Skipped
        return regex_rule(rule[1:-1])
    options = _OPTIONS.search(rule)
    if options is not None:
        rule = rule[: options.start()]
        if not _FOR_ALL.issuperset(options[1].lower().split(b",")):
            raise Skipped
    if rule.startswith(b"||"):
        return _anchored(rule[2:], b"", False, passes)
    for scheme in (b"http", b"https"):
        begin = b"|%b://" % scheme
        if rule.startswith(begin):
            return _anchored(rule[len(begin) :], scheme, True, passes)
    if rule.startswith(b"|") or not rule:
        raise Bad("neither a host nor a URL after the bar" if rule else "nothing but options")
    # Whatever has this somewhere in its URL: a host among it, which is all that a plain word may be.
    raise Skipped


def regex_rule(text: bytes) -> RegexRule:
    """A regular expression. Raises `Bad`; whether it can be compiled is for whoever does."""
    try:
        return RegexRule(text.decode("utf-8"))
    except UnicodeError:
        raise Bad("not in UTF-8") from None


def _anchored(rule: bytes, scheme: bytes, exact: bool, passes: bool) -> NameRule | PathRule:
    end = _HOST_END.search(rule)
    assert end is not None
    host, rest = rule[: end.start()], rule[end.start() :]
    if rest.startswith(b"*") or b"*" in host:
        raise Skipped
    name = listed_name(host)
    if name is None:
        raise Bad("no host after the bars")
    if rest in (b"", b"^", b"^|", b"|") and not scheme:
        if not rest and b"." not in name:
            # The beginning of a host's name, as in ||ads.
            raise Skipped
        found = NameRule(name, SELF if is_address(name) else ALL)
        return excepted(found) if passes else found
    if rest.startswith((b"^", b"?", b":", b"|")):
        raise Skipped
    path = rest or b"/"
    if len(path) > _LONGEST_PATH or path.count(b"*") > _MOST_STARS or not path.isascii():
        raise Skipped
    return PathRule(name.decode("ascii"), path.decode("ascii").lower(), scheme.decode("ascii"), exact, passes)
