"""What an account is."""

from __future__ import annotations

from twistedproxy.accounts.account import Account, IAccount


def test_accounts_have_what_the_interface_says() -> None:
    account = Account(b"ann", frozenset(["staff"]))
    assert [getattr(account, name) for name in sorted(IAccount.names())] == [frozenset(["staff"]), b"ann"]
    assert Account(b"ann").groups == frozenset()
