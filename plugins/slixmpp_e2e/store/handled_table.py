"""How many stanzas of peers were handled, by session, within one transaction: one row for each session in which something came,
as long as it can be resumed. The bounds are those of the core's memory."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from slixmpp_e2e.store import tables
from slixmpp_e2e.store.key_table import parse_row
from xmpp_e2e.inner.resumption import KEPT_SECONDS, LINKS, STATES_PER_LINK, Handled, Link

_HANDLED = tables.handled
_SESSION = (_HANDLED.c.own, _HANDLED.c.peer, _HANDLED.c.own_key, _HANDLED.c.peer_key, _HANDLED.c.sid)
_RAISE = (
    update(_HANDLED)
    .where(_HANDLED.c.id == bindparam("which"), _HANDLED.c.count < bindparam("to"))
    .values(count=bindparam("to"), at=bindparam("now"))
)


def count(connection: Connection, path: Path, own: str, link: Link, sid: str) -> int | None:
    """Return how many were handled in a session; None: nothing is known of it. StoreError if the row makes no sense."""
    session = zip(_SESSION, _session(own, link, sid), strict=True)
    found = connection.execute(select(_HANDLED.c.count).where(*(column == value for column, value in session))).scalar()
    return None if found is None else parse_row(path, _HANDLED, lambda: int(found))


def note(connection: Connection, changes: Iterable[tuple[str, Handled]], now: float) -> None:
    """Note counts, each for an address of ours. None falls: a change that was overtaken by a later one changes nothing.

    Many sessions may be busy at once: those that are known are looked up together, and changed together.
    """
    wanted: dict[tuple[str, ...], int] = {}
    for own, (link, sid, stanzas) in changes:
        session = _session(own, link, sid)
        wanted[session] = max(stanzas, wanted.get(session, 0))
    same = select(_HANDLED.c.id, *_SESSION).where(_HANDLED.c.sid.in_([session[-1] for session in wanted]))
    known = {tuple(session): number for number, *session in connection.execute(same)}
    raised = [{"which": number, "to": wanted[each], "now": now} for each, number in known.items() if each in wanted]
    if raised:
        connection.execute(_RAISE, raised)
    if new := [session for session in wanted if session not in known]:
        names = [column.name for column in _SESSION]
        rows = [{**dict(zip(names, each, strict=True)), "count": wanted[each], "at": now} for each in new]
        connection.execute(insert(_HANDLED), rows)
        _make_room(connection, {session[:-1] for session in new}, now)


def _make_room(connection: Connection, links: Iterable[tuple[str, ...]], now: float) -> None:
    """Forget what is too old to be resumed, and the oldest of what is too much: of each link, and in all."""
    newest = select(_HANDLED.c.id).order_by(_HANDLED.c.id.desc())
    connection.execute(delete(_HANDLED).where(_HANDLED.c.at < now - KEPT_SECONDS))
    for link in links:
        same = newest.where(*(column == value for column, value in zip(_SESSION[:-1], link, strict=True)))
        connection.execute(delete(_HANDLED).where(_HANDLED.c.id.in_(same.offset(STATES_PER_LINK))))
    connection.execute(delete(_HANDLED).where(_HANDLED.c.id.in_(newest.offset(LINKS))))


def _session(own: str, link: Link, sid: str) -> tuple[str, ...]:
    return own, link.peer_account, str(link.own_key), str(link.peer_key), sid
