"""How many stanzas of peers were handled, by session, within one transaction: one row for each session in which something came,
as long as it can be resumed. The bounds are those of the core's memory."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import ColumnElement, Connection, Select, and_, delete, func, insert, select, update

from slixmpp_e2e.store import tables
from slixmpp_e2e.store.key_table import parse_row
from xmpp_e2e.inner.resumption import KEPT_SECONDS, LINKS, STATES_PER_LINK, Handled, Link

_HANDLED = tables.handled


def count(connection: Connection, path: Path, own: str, link: Link, sid: str) -> int | None:
    """Return how many were handled in a session; None: nothing is known of it. StoreError if the row makes no sense."""
    found = connection.execute(select(_HANDLED.c.count).where(_is_session(own, link, sid))).scalar()
    return None if found is None else parse_row(path, _HANDLED, lambda: int(found))


def note(connection: Connection, path: Path, own: str, handled: Handled, now: float) -> None:
    """Note a count. It never falls: a change that was overtaken by a later one changes nothing."""
    link, sid, stanzas = handled
    before = count(connection, path, own, link, sid)
    if before is None:
        _make_room(connection, own, link, now)
        keys = {"own_key": str(link.own_key), "peer_key": str(link.peer_key)}
        row = {"own": own, "peer": link.peer_account, **keys, "sid": sid, "count": stanzas, "at": now}
        connection.execute(insert(_HANDLED).values(row))
    elif before < stanzas:
        connection.execute(update(_HANDLED).where(_is_session(own, link, sid)).values(count=stanzas, at=now))


def _make_room(connection: Connection, own: str, link: Link, now: float) -> None:
    """Forget what is too old to be resumed, and the oldest of what is too much: with these keys, and in all."""
    connection.execute(delete(_HANDLED).where(_HANDLED.c.at < now - KEPT_SECONDS))
    same = select(_HANDLED.c.id).where(_is_link(own, link)).order_by(_HANDLED.c.id.desc())
    _forget(connection, same.offset(STATES_PER_LINK - 1))
    if connection.execute(select(func.count()).select_from(_HANDLED)).scalar_one() >= LINKS:
        _forget(connection, select(_HANDLED.c.id).order_by(_HANDLED.c.id).limit(1))


def _forget(connection: Connection, which: Select[tuple[int]]) -> None:
    connection.execute(delete(_HANDLED).where(_HANDLED.c.id.in_(which)))


def _is_link(own: str, link: Link) -> ColumnElement[bool]:
    return and_(
        _HANDLED.c.own == own,
        _HANDLED.c.peer == link.peer_account,
        _HANDLED.c.own_key == str(link.own_key),
        _HANDLED.c.peer_key == str(link.peer_key),
    )


def _is_session(own: str, link: Link, sid: str) -> ColumnElement[bool]:
    return and_(_HANDLED.c.sid == sid, _is_link(own, link))
