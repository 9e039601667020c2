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

HABIT_FIELDS: Final = ("DNT", "Save-Data", "Sec-GPC", "X-Requested-With")
"""Fields that tell clients apart by what few of them send, or name the application."""

GROUPS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "addresses": ADDRESS_FIELDS,
        "persons": PERSON_FIELDS,
        "habits": HABIT_FIELDS,
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


PROFILES: Final[Mapping[str, Choices]] = MappingProxyType(
    {
        "off": Choices(
            via="pseudonym",
            forwarded_for="transparent",
            remove_request_fields=(),
            remove_response_fields=(),
        ),
        "standard": Choices(
            via="pseudonym",
            forwarded_for="delete",
            remove_request_fields=(*ADDRESS_FIELDS, *PERSON_FIELDS),
            remove_response_fields=(),
        ),
        "strict": Choices(
            via="none",
            forwarded_for="delete",
            remove_request_fields=(*ADDRESS_FIELDS, *PERSON_FIELDS, *HABIT_FIELDS),
            remove_response_fields=(),
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
