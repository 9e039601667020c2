"""The profiles: what each of them says for every part, and what the settings come to with theirs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Final

from twistedproxy.settings.privacy import AS_PROFILE, PrivacySettings

ADDRESS_FIELDS: Final = (
    "Client-IP",
    "True-Client-IP",
    "X-Client-IP",
    "X-Cluster-Client-IP",
    "X-Forwarded",
    "X-Forwarded-By",
    "X-Forwarded-Host",
    "X-Forwarded-Port",
    "X-Forwarded-Proto",
    "X-Forwarded-Server",
    "X-Host",
    "X-Original-Forwarded-For",
    "X-Originating-IP",
    "X-ProxyUser-IP",
    "X-Real-IP",
    "X-Remote-Addr",
    "X-Remote-IP",
    "CF-Connecting-IP",
    "CF-Connecting-IPv6",
    "Fastly-Client-IP",
    "WL-Proxy-Client-IP",
)
"""Fields in which other proxies tell of a client's address, or of themselves."""

PERSON_FIELDS: Final = (
    "From",
    "X-ATT-DeviceId",
    "X-Device-User-Agent",
    "X-MSISDN",
    "X-Nokia-MSISDN",
    "X-UIDH",
    "X-Up-Calling-Line-ID",
    "X-Up-Subno",
    "X-WAP-Profile",
)
"""Fields by which a person or a telephone is known."""

HABIT_FIELDS: Final = ("DNT", "Save-Data")
"""Fields that tell clients apart by what few of them send."""

HINTS_BEYOND_LOW: Final = (
    "Sec-CH-UA-Arch",
    "Sec-CH-UA-Bitness",
    "Sec-CH-UA-Form-Factors",
    "Sec-CH-UA-Full-Version",
    "Sec-CH-UA-Full-Version-List",
    "Sec-CH-UA-Model",
    "Sec-CH-UA-Platform-Version",
    "Sec-CH-UA-WoW64",
    "Sec-CH-Device-Memory",
    "Sec-CH-DPR",
    "Sec-CH-Prefers-Color-Scheme",
    "Sec-CH-Prefers-Reduced-Motion",
    "Sec-CH-Prefers-Reduced-Transparency",
    "Sec-CH-Viewport-Height",
    "Sec-CH-Viewport-Width",
    "Sec-CH-Width",
    "Device-Memory",
    "Downlink",
    "DPR",
    "ECT",
    "RTT",
    "Viewport-Width",
    "Width",
)
"""The client hints that ``client_hints = "low"`` takes out."""

ALL_HINTS: Final = (*HINTS_BEYOND_LOW, "Sec-CH-*")
"""Those that ``none`` takes out."""

ASKING_FOR_HINTS: Final = ("Accept-CH", "Critical-CH")
"""The fields by which servers ask for hints."""

REPORT_FIELDS: Final = ("NEL", "Report-To", "Reporting-Endpoints")
"""Fields by which servers have browsers report, to whomever they name, what happens on the way."""

GROUPS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "addresses": ADDRESS_FIELDS,
        "persons": PERSON_FIELDS,
        "habits": HABIT_FIELDS,
        "reports": REPORT_FIELDS,
    }
)
"""What the groups are called in docs/privacy.md."""


@dataclass(frozen=True, slots=True)
class Choices:
    """What is done for each part; the words are those of the settings."""

    via: str
    forwarded_for: str
    remove_request_fields: tuple[str, ...]
    remove_response_fields: tuple[str, ...]
    referer: str
    third_party_cookies: str
    third_party_validators: str
    tracking_parameters: str
    user_agent: str
    client_hints: str
    accept_language: str
    log_addresses: str
    log_queries: str


PROFILES: Final[Mapping[str, Choices]] = MappingProxyType(
    {
        "off": Choices(
            via="pseudonym",
            forwarded_for="transparent",
            remove_request_fields=(),
            remove_response_fields=(),
            referer="pass",
            third_party_cookies="pass",
            third_party_validators="pass",
            tracking_parameters="pass",
            user_agent="pass",
            client_hints="pass",
            accept_language="pass",
            log_addresses="full",
            log_queries="full",
        ),
        "standard": Choices(
            via="pseudonym",
            forwarded_for="delete",
            remove_request_fields=(*ADDRESS_FIELDS, *PERSON_FIELDS),
            remove_response_fields=(),
            referer="origin",
            third_party_cookies="strip",
            third_party_validators="pass",
            tracking_parameters="strip",
            user_agent="general",
            client_hints="low",
            accept_language="first",
            log_addresses="full",
            log_queries="drop",
        ),
        "strict": Choices(
            via="none",
            forwarded_for="delete",
            remove_request_fields=(*ADDRESS_FIELDS, *PERSON_FIELDS, *HABIT_FIELDS),
            remove_response_fields=REPORT_FIELDS,
            referer="same-origin",
            third_party_cookies="strip",
            third_party_validators="strip",
            tracking_parameters="strip",
            user_agent="general",
            client_hints="none",
            accept_language="language",
            log_addresses="truncate",
            log_queries="drop",
        ),
    }
)


def choices(settings: PrivacySettings) -> Choices:
    """What ``settings`` come to: where they say something themselves that, and lists are added to the profile's."""
    profile = PROFILES[settings.profile]
    chosen: dict[str, object] = {}
    for field in fields(Choices):
        of_profile, own = getattr(profile, field.name), getattr(settings, field.name)
        if isinstance(own, tuple):
            chosen[field.name] = (*of_profile, *own)
        else:
            chosen[field.name] = of_profile if own == AS_PROFILE else own
    return Choices(**chosen)  # type: ignore[arg-type]  # each has the type of its field
