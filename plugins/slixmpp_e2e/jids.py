"""JIDs as text, for code that runs too often or too early to parse them."""

from __future__ import annotations


def bare(jid: str) -> str:
    """Return the account of a JID."""
    return jid.partition("/")[0]


def account_and_domain(jid: str) -> tuple[str, str]:
    """Return the account of a JID, and its domain."""
    account = bare(jid)
    return account, account.rpartition("@")[2]
