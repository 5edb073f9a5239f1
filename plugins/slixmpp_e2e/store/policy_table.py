"""The user's settings for peers, within one transaction."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, and_, delete, insert, select

from slixmpp_e2e.policy import Policy
from slixmpp_e2e.store import tables
from slixmpp_e2e.store.key_table import parse_row
from slixmpp_e2e.store.values import PeerPolicy
from xmpp_e2e.key_decision import OnKeyChange
from xmpp_e2e.types import TrustModel

_POLICY, _CHANGES = tables.policy, tables.changes


class PolicyTable:
    """One row for each peer about whom the user has decided something."""

    def __init__(self, connection: Connection, path: Path) -> None:
        self._connection, self._path = connection, path

    def policy(self, peer: str) -> PeerPolicy:
        """Return the settings for a peer. StoreError if the row makes no sense."""
        row = self._connection.execute(select(_POLICY).where(_POLICY.c.peer == peer)).first()
        return PeerPolicy() if row is None else self._parse(row)

    def replace(self, peer: str, policy: PeerPolicy) -> None:
        """Replace the settings for a peer; those that are the same as for everybody need no row."""
        self._connection.execute(delete(_POLICY).where(_POLICY.c.peer == peer))
        if policy != PeerPolicy():
            row = {
                "peer": peer,
                "policy": policy.policy and policy.policy.value,
                "trust_model": policy.trust_model and policy.trust_model.value,
                "plaintext_allowed": policy.plaintext_allowed,
                "on_key_change": policy.on_key_change and policy.on_key_change.value,
            }
            self._connection.execute(insert(_POLICY).values(row))
        self.note_change(peer, tables.POLICY_SET)

    def note_change(self, peer: str, what: str) -> None:
        """Note that what is kept in memory about a peer is out of date: one row for each ``what``, with a new id."""
        self._connection.execute(delete(_CHANGES).where(and_(_CHANGES.c.peer == peer, _CHANGES.c.what == what)))
        self._connection.execute(insert(_CHANGES).values({"peer": peer, "what": what}))

    def _parse(self, row: Row[Any]) -> PeerPolicy:
        def parse() -> PeerPolicy:
            return PeerPolicy(
                policy=None if row.policy is None else Policy(row.policy),
                trust_model=None if row.trust_model is None else TrustModel(row.trust_model),
                plaintext_allowed=row.plaintext_allowed,
                on_key_change=None if row.on_key_change is None else OnKeyChange(row.on_key_change),
            )

        return parse_row(self._path, _POLICY, parse)
