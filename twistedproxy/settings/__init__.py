"""The operator's file in, typed and frozen Settings out; every error with its place."""

from twistedproxy.settings.access import AccessRule, AccessSettings
from twistedproxy.settings.accounts import AccountGroup, AccountsSettings, CertificateAccount, StaticAccount
from twistedproxy.settings.annotate import annotated_toml
from twistedproxy.settings.describe import describe
from twistedproxy.settings.load import Loaded, load
from twistedproxy.settings.log import LogSettings
from twistedproxy.settings.operation import ControlSettings, ServiceSettings, TLSSettings
from twistedproxy.settings.privacy import PrivacySettings
from twistedproxy.settings.problems import Problem, SettingsError
from twistedproxy.settings.resolver import ResolverSettings
from twistedproxy.settings.sources import Sources
from twistedproxy.settings.types import (
    DownstreamSettings,
    ForwardingSettings,
    Settings,
    TunnelSettings,
    UpstreamSettings,
)
from twistedproxy.settings.upstream_tls import UpstreamHost, UpstreamTLSSettings

__all__ = [
    "AccessRule",
    "AccessSettings",
    "AccountGroup",
    "AccountsSettings",
    "CertificateAccount",
    "ControlSettings",
    "DownstreamSettings",
    "ForwardingSettings",
    "Loaded",
    "LogSettings",
    "PrivacySettings",
    "Problem",
    "ResolverSettings",
    "ServiceSettings",
    "Settings",
    "SettingsError",
    "Sources",
    "StaticAccount",
    "TLSSettings",
    "TunnelSettings",
    "UpstreamHost",
    "UpstreamSettings",
    "UpstreamTLSSettings",
    "annotated_toml",
    "describe",
    "load",
]
