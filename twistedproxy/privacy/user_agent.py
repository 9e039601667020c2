"""User-Agent in general: the family of a browser, its major version and its kind of system, and no more.

Browsers have come to say nearly this by themselves. What is no browser is named without comments and with its major
version only. The strings are those that the families send when they reduce it, so that nobody stands out.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

_LONGEST: Final = 512

# The first that is found decides: an Android is a Linux too, and an iPad may say Mac OS X.
_SYSTEMS: Final = (
    ("Android", "Linux; Android 10; K"),
    ("iPad", "iPad; CPU OS 18_0 like Mac OS X"),
    ("iPhone", "iPhone; CPU iPhone OS 18_0 like Mac OS X"),
    ("iPod", "iPhone; CPU iPhone OS 18_0 like Mac OS X"),
    ("Windows", "Windows NT 10.0; Win64; x64"),
    ("Macintosh", "Macintosh; Intel Mac OS X 10_15_7"),
    ("CrOS", "X11; CrOS x86_64 14541.0.0"),
    ("", "X11; Linux x86_64"),
)
# Gecko on a telephone, a Mac and a PC.
_GECKO_SYSTEMS: Final = {
    "Linux; Android 10; K": "Android 10; Mobile",
    "Macintosh; Intel Mac OS X 10_15_7": "Macintosh; Intel Mac OS X 10.15",
}
_BROWSER: Final = re.compile(r"Mozilla/5\.0 \(([^()]*(?:\([^()]*\)[^()]*)*)\)(.*)")
_CHROMIUM: Final = re.compile(r" (?:Chrome|Chromium|HeadlessChrome)/([0-9]{1,4})")
_GECKO: Final = re.compile(r" Firefox/([0-9]{1,4})")
_SAFARI: Final = re.compile(r" Version/([0-9]{1,4})[0-9.]*(?: Mobile/\w+)? Safari/")
_PRODUCT: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,64})(?:/([0-9]{1,4}))?")


def general_user_agent(value: bytes) -> bytes:
    """What takes the place of a User-Agent of ``value``."""
    return _general(value[:_LONGEST])


def requested_with(value: bytes) -> bytes | None:
    """What is left of an X-Requested-With of ``value``: what scripts say, but not an application's name."""
    return value if value == b"XMLHttpRequest" else None


@lru_cache(maxsize=1024)
def _general(value: bytes) -> bytes:
    text = value.decode("latin-1")
    browser = _BROWSER.match(text)
    if browser is not None and (family := _browser(browser[1], browser[2])):
        return family.encode("ascii")
    product = _PRODUCT.match(text)
    if product is None or product[1] == "Mozilla":
        return b"Mozilla/5.0"
    name, version = product.groups()
    return (f"{name}/{version}" if version else name).encode("ascii")


def _browser(comment: str, rest: str) -> str:
    system = next(reduced for word, reduced in _SYSTEMS if word in comment)
    mobile = " Mobile" in rest
    if match := _CHROMIUM.search(rest):
        suffix = " Mobile Safari/537.36" if mobile else " Safari/537.36"
        return f"Mozilla/5.0 ({system}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{match[1]}.0.0.0{suffix}"
    if match := _GECKO.search(rest):
        version = match[1]
        # On Android the build date that stands behind Gecko is the version.
        build = f"{version}.0" if "Android" in system else "20100101"
        return f"Mozilla/5.0 ({_GECKO_SYSTEMS.get(system, system)}; rv:{version}.0) Gecko/{build} Firefox/{version}.0"
    if match := _SAFARI.search(rest):
        device = " Mobile/15E148 Safari/604.1" if mobile else " Safari/605.1.15"
        return f"Mozilla/5.0 ({system}) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/{match[1]}.0{device}"
    return ""
