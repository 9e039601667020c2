"""The settings of accounts: who has one, and how clients prove that it is theirs; `types` puts them together."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from twistedproxy.settings.directories import Directory
from twistedproxy.settings.kinds import choice, count, duration, special, switch


class StaticAccount(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """One account; exactly one of ``hash`` and ``password_file`` is not empty."""

    name: str
    hash: str = ""
    password_file: str = ""
    groups: tuple[str, ...] = ()


class AccountGroup(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """A group, and the names of the accounts that are in it."""

    name: str
    members: tuple[str, ...]


class CertificateAccount(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """An account, and the certificate that is its client's; exactly one of the last five is not empty."""

    name: str
    groups: tuple[str, ...] = ()
    subject: str = ""
    email: str = ""
    dns: str = ""
    uri: str = ""
    sha256: str = ""


class AccountsSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who has an account of the proxy, and how clients prove that it is theirs."""

    required: Annotated[
        bool,
        switch(
            "Whether every request needs an account, but for those of `exempt_clients`. Others are answered with 407 "
            "(`credentials_wanted`). When false, a request may come without one; credentials that do come are checked "
            "all the same, and wrong ones are answered with 407 (`credentials_refused`)."
        ),
    ] = False
    exempt_clients: Annotated[
        tuple[str, ...],
        special(
            "clients",
            "The clients that need no account, as in `access.clients`.",
            examples=[["loopback", "192.168.7.0/24"]],
        ),
    ] = ()
    htpasswd_file: Annotated[
        str,
        special(
            "credential path",
            "The file with accounts and hashes of their passwords, in htpasswd's format: `name:hash`, one a line. "
            "`pyproxyctl passwd` maintains it. The hashes are bcrypt, scrypt (`$scrypt$`), or SHA-256 and SHA-512 "
            "crypt (`$5$`, `$6$`); others are refused. `$CREDENTIALS_DIRECTORY/` may stand at the beginning. The file "
            "must not be readable by everybody. When it changes it is read again, within a second or so.",
            examples=["/etc/twistedproxy/accounts"],
        ),
    ] = ""
    digest_file: Annotated[
        str,
        special(
            "credential path",
            "The file with the accounts that can use the scheme `digest`, in htdigest's format but with SHA-256: "
            "`name:realm:digest`, where the digest is the SHA-256 of `name:realm:password` in hexadecimal digits. "
            "`pyproxyctl passwd --digest` maintains it. Lines of other realms are left out. Whoever reads a digest can "
            "use it in the place of the password. Otherwise as `htpasswd_file`.",
            examples=["/etc/twistedproxy/accounts.digest"],
        ),
    ] = ""
    group_file: Annotated[
        str,
        special(
            "credential path",
            "The file with groups: `group: name name`, one a line. Read as `htpasswd_file` is.",
            examples=["/etc/twistedproxy/groups"],
        ),
    ] = ""
    static: Annotated[
        tuple[StaticAccount, ...],
        special(
            "static accounts",
            "Accounts that stand in the settings: a table `[[accounts.static]]` for each. `name` is the account's, "
            "`hash` that of its password as in `htpasswd_file`, or `password_file` the file with the password itself, "
            "such as one of systemd's credentials; `groups` are those it is in. They go before "
            "those in `htpasswd_file`.",
            examples=[[{"name": "ci", "password_file": "$CREDENTIALS_DIRECTORY/ci"}]],
        ),
    ] = ()
    groups: Annotated[
        tuple[AccountGroup, ...],
        special(
            "account groups",
            "Groups that stand in the settings: a table `[[accounts.groups]]` for each, with its `name` and the "
            "names of its `members`.",
            examples=[[{"name": "staff", "members": ["ann", "bob"]}]],
        ),
    ] = ()
    certificates: Annotated[
        tuple[CertificateAccount, ...],
        special(
            "certificate accounts",
            "Whose a client's certificate is, where a listener takes them (`clientCA`): a table "
            "`[[accounts.certificates]]` for each. `name` is the account's, `groups` those it is in, and one of these "
            "says which certificate it is: `subject`, the whole of it as RFC 4514 writes it (the most special part "
            "first); `email`, `dns` or `uri`, an alternative name; `sha256`, its fingerprint. An account may have "
            "several.",
            examples=[[{"name": "build", "subject": "CN=build,OU=ci,O=Example"}]],
        ),
    ] = ()
    certificate_names: Annotated[
        tuple[str, ...],
        special(
            "certificate fields",
            "Where a client's certificate has the name of its account, when none of `certificates` is it: in the "
            "first of these that it has. `cn` is the subject's common name; `email`, `dns` and `uri` are alternative "
            "names. One that has two different ones there names nobody.",
            examples=[["email"]],
        ),
    ] = ("cn", "email", "dns", "uri")
    certificate_accounts: Annotated[
        Literal["listed", "all"],
        choice(
            "Which of those names are accounts: `listed` takes those that are in one of the files, in `static` or in "
            "`certificates`, and what `checkers` say of others; `all` takes every name, since the authority knows whom "
            "it has signed.",
            ("listed", "all"),
            examples=["all"],
        ),
    ] = "listed"
    ldap: Annotated[
        tuple[Directory, ...],
        special(
            "directories",
            "Directories of LDAP that know names which are in none of the above: a table `[[accounts.ldap]]` for "
            "each, asked in turn. `url` is `ldaps://` or `ldap://`, the latter with STARTTLS unless `plain = true`; "
            "`anchors` a file with the authorities to verify it by, else those of the system. The entry of an account "
            'is at `dn`, such as `"uid={name},ou=people,dc=example,dc=com"`, or it is found under `base` by `filter` '
            '(`"(uid={name})"`), as `service_dn` with the password in `service_password_file`, or as nobody. The '
            "password is right when the directory lets the entry bind with it. `name_attribute` (`uid`) of the entry "
            "is the account's name. Its groups are the first parts of the names in `group_attribute` (`memberOf`), or "
            'with `group_base` the `cn` of what is found there by `group_filter` (`"(member={dn})"`). `timeout` is '
            "how many seconds a check may take (5).",
            examples=[[{"url": "ldaps://ldap.example.com", "dn": "uid={name},ou=people,dc=example,dc=com"}]],
        ),
    ] = ()
    checkers: Annotated[
        tuple[str, ...],
        special(
            "dotted names",
            "Checkers of your own for names that are in none of the above: dotted names of objects that provide "
            "Twisted's `ICredentialsChecker` for `IUsernamePassword`, or of classes and functions that make one when "
            "they are called without arguments. They are imported at the start and asked in turn.",
            examples=[["example_site.directory.Checker"]],
        ),
    ] = ()
    schemes: Annotated[
        tuple[str, ...],
        special(
            "schemes",
            "How clients may prove who they are, the best first: `basic` (RFC 7617; the password can be read on the "
            "way, unless the listener is `ssl:`), `digest` (RFC 7616 with SHA-256, for the accounts in `digest_file`).",
            examples=[["digest", "basic"]],
        ),
    ] = ("basic",)
    userhash: Annotated[
        bool,
        switch(
            "Whether clients that use `digest` may send a hash of the account's name in its place (RFC 7616, section "
            "3.4.4), so that without TLS nobody reads it on the way. Those that do not know of that send the name. The "
            "log has no name for a hash that is nobody's."
        ),
    ] = False
    realm: Annotated[
        str,
        special(
            "realm",
            "What clients call the proxy when they ask a person for the password. The digests of `digest_file` depend "
            "on it.",
            examples=["example.com proxy"],
        ),
    ] = "proxy"
    cache_ttl: Annotated[
        float,
        duration(
            "How long each worker remembers that a name and a password were right, so that the hash, which is slow on "
            "purpose, is not made for each request. It is forgotten at once when the account changes. 0 remembers "
            "nothing.",
            least=0,
            most=86400,
            examples=["15m"],
        ),
    ] = 300.0
    cache_size: Annotated[
        int,
        count("How many names and passwords each worker remembers in that way.", examples=[100_000]),
    ] = 10_000
    slow_down: Annotated[
        float,
        duration(
            "The longest that a client's address waits after a wrong password before its next one is looked at. The "
            "wait begins at a sixteenth of this and doubles with each failure. Passwords that are known to be right "
            "do not wait, nor do other addresses. 0 lets nobody wait.",
            least=0,
            most=3600,
            examples=["30s"],
        ),
    ] = 8.0
    threads: Annotated[
        int,
        count("How many passwords each worker checks at the same time, in a thread each.", most=8, examples=[4]),
    ] = 2


def has_passwords(accounts: AccountsSettings) -> bool:
    """Whether the settings know of anybody who may have a password."""
    here = accounts.htpasswd_file or accounts.digest_file or accounts.static
    return bool(here or accounts.ldap or accounts.checkers)


def has_certificates(accounts: AccountsSettings) -> bool:
    """Whether the settings make accounts of clients' certificates alone."""
    return bool(accounts.certificates or accounts.certificate_accounts == "all")


def has_accounts(accounts: AccountsSettings) -> bool:
    """Whether the settings know of anybody who may have an account."""
    return has_passwords(accounts) or has_certificates(accounts)
