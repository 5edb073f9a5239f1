"""``xmpp-e2e send``: deliver one message inside end-to-end sessions, or nothing at all.

Delivery means: the session opened, and the peer has acknowledged the message inside TLS.
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from slixmpp import JID, ClientXMPP

from slixmpp_e2e import E2E, E2ESession, KeyChanged, Policy
from slixmpp_e2e.errors import PeerOffline, PeerWithoutE2E, RefusedByPolicy, is_passing
from slixmpp_e2e.messages.routing import MAX_DEVICES
from xmpp_e2e.config import Timeouts
from xmpp_e2e.errors import E2EError, Timeout, UntrustedKey
from xmpp_e2e.states import AWAITING_OUR_DONE
from xmpp_e2e.types import Assurance, Fingerprint
from xmpp_e2e_cli.connection import handling
from xmpp_e2e_cli.exit_codes import most_urgent

PRESENCE_SECONDS = 5.0
"""Time for a contact's presence to arrive. Their server answers within a second or so if they are online."""
NEGATIVE_PRIORITY = -1
"""Our presence priority: the server must not route messages for the account to us (RFC 6121 §8.5.2.1)."""

TICK_SECONDS = 0.5
"""How often it is looked whether bytes have come to the peer: a person who watches sees them move."""

Progress = Callable[[str], None]
"""Prints a line about progress."""
Carried = Callable[[str, int, int], None]
"""Is told how far a long message has come: the device, how many bytes it has, and how many there are."""


def ignore_carried(device: str, have: int, size: int) -> None:
    """Show nothing."""


@dataclass(frozen=True)
class Delivery:
    """A delivered message: the recipient, and how well their key is verified."""

    peer: str
    """The full JID."""
    assurance: Assurance
    fingerprint: Fingerprint


class PresenceNotShared(PeerOffline):
    """The peer does not share their presence with us, so their devices are unknown."""

    likely = "You two are not in each other's contact lists (rosters)."
    attack = ""
    remedy = (
        "Nothing was sent. Write to a full JID, which needs no presence: xmpp-e2e send name@domain/resource"
        " (`listen` prints its own). Or ask for permission: --subscribe."
    )


@dataclass(frozen=True)
class Message:
    """The message to send to one peer."""

    peer: JID
    body: str
    seconds: float
    """Timeout for the peer to open a session, and again while nothing of the message comes to them."""
    subscribe: bool = False
    """Send a subscription request if the peer does not share their presence."""
    can_ask: bool = False
    """A user at the terminal can verify a key that is not accepted yet."""


async def deliver(
    client: ClientXMPP, e2e: E2E, message: Message, tell: Progress, carried: Carried = ignore_carried
) -> list[Delivery]:
    """Send to every device of the peer that accepts it. Raises the most urgent error if none does.

    ``client`` is logged in; its presence is sent here.
    """
    if e2e.policy_of(message.peer.bare) is Policy.OFF:
        raise RefusedByPolicy(f"our policy for {message.peer.bare} is `off`, but this command sends encrypted or not at all")
    devices = await online_devices(client, message.peer, message.seconds, tell, subscribe=message.subscribe)
    tell(f"opening a session with {', '.join(devices)}")
    with _key_changes(client, tell) as changes:
        sending = (_deliver_to(client, e2e, device, message, changes, carried) for device in devices)
        outcomes = await asyncio.gather(*sending)
    delivered = [outcome for outcome in outcomes if isinstance(outcome, Delivery)]
    failed = [(device, o) for device, o in zip(devices, outcomes, strict=True) if isinstance(o, E2EError)]
    if not delivered:
        raise most_urgent([error for _, error in failed])
    for device, error in failed:
        if not isinstance(error, PeerWithoutE2E):
            tell(f"not sent to {device}: {error}")
    return delivered


async def _deliver_to(
    client: ClientXMPP,
    e2e: E2E,
    device: str,
    message: Message,
    changes: dict[E2ESession, KeyChanged],
    carried: Carried,
) -> Delivery | E2EError:
    try:
        session = await _open_session(e2e, device, message, changes)
        stanza: Any = client.make_message(mto=device, mbody=message.body, mtype="chat")
        transfer = _Transfer(session, len(str(stanza).encode()), carried)
        # Straight into this session, past the queue: whatever happens, the stanza goes there or nowhere.
        session.send(stanza)
    except E2EError as error:
        return error
    try:
        await close_session(session, message.seconds, transfer.show)
    except Timeout as error:
        if session.unacknowledged:
            return Timeout(f"{error}; {transfer.have} of {transfer.size} bytes of the message have come to them")
    except E2EError as error:
        if session.unacknowledged or not is_passing(error, opened=True):
            return error
    return transfer.delivery


class _Transfer:
    """A message on its way to one device."""

    def __init__(self, session: E2ESession, size: int, carried: Carried) -> None:
        """Before it is sent. ``size``: of the stanza, in bytes."""
        assert session.fingerprint is not None
        self.delivery = Delivery(session.peer, session.assurance, session.fingerprint)
        self.size = size
        self._session, self._before, self._carried, self._tenths = session, session.acknowledged_bytes, carried, 0

    @property
    def have(self) -> int:
        """How much of it has come to the device. TLS adds a little, which belongs to no stanza."""
        return min(self._session.acknowledged_bytes - self._before, self.size)

    def show(self) -> None:
        """Tell of every tenth."""
        tenths = self.have * 10 // self.size
        if tenths > self._tenths:
            self._tenths = tenths
            self._carried(self._session.peer, self.have, self.size)


@contextmanager
def _key_changes(client: ClientXMPP, tell: Progress) -> Iterator[dict[E2ESession, KeyChanged]]:
    """Collect changes of peers' keys. Print those that are accepted; the others become the error."""
    changes: dict[E2ESession, KeyChanged] = {}

    def changed(event: KeyChanged) -> None:
        changes[event.session] = event
        if event.decision == "accept":
            tell(event.text)

    with handling(client, {KeyChanged.name: changed}):
        yield changes


async def _open_session(e2e: E2E, device: str, message: Message, changes: dict[E2ESession, KeyChanged]) -> E2ESession:
    """Return an open session. Raises UntrustedKey if our own user has to decide about the key first."""
    seconds = max(message.seconds, Timeouts().user) if message.can_ask else message.seconds
    try:
        async with asyncio.timeout(seconds):
            session = await e2e.connect(device)
            if session.state in AWAITING_OUR_DONE and not session.is_verifying:  # our own side does not accept the key
                await session.close()
                raise UntrustedKey(_explain_key(session, changes.get(session)))
            await session.wait_open()
    except TimeoutError:
        raise Timeout(f"{device} did not open the session within {seconds:g} seconds; nothing was sent") from None
    return session


def _explain_key(session: E2ESession, change: KeyChanged | None) -> str:
    if change is not None:
        return change.text
    bare, shown = JID(session.peer).bare, session.fingerprint
    return (
        f"the key of {session.peer} is only {session.assurance}, but must be verified: a dishonest server could show its own"
        " key. Nothing was sent. Compare the fingerprint with the peer over another channel, then:"
        f" xmpp-e2e trust pin {shlex.quote(bare)} {shown}"
    )


async def close_session(session: E2ESession, seconds: float, moved: Callable[[], None] = lambda: None) -> Delivery:
    """Close the session, and wait until the peer has acknowledged all that was sent in it. Raises the session's error.

    Timeout after so many ``seconds`` in which nothing came to the peer. ``moved`` is called when something did.
    """
    assurance, fingerprint = session.assurance, session.fingerprint
    assert fingerprint is not None
    closing = asyncio.ensure_future(session.close())
    try:
        await _while_moving(session, closing, seconds, moved)
    finally:
        closing.cancel()
    if (error := closing.result()) is not None:
        raise error
    return Delivery(session.peer, assurance, fingerprint)


async def _while_moving(
    session: E2ESession, closing: asyncio.Future[E2EError | None], seconds: float, moved: Callable[[], None]
) -> None:
    """Wait until the session is over. Timeout after so many seconds in which nothing came to the peer."""
    loop = asyncio.get_running_loop()
    have, due = session.acknowledged_bytes, loop.time() + seconds
    while not closing.done():
        await asyncio.wait({closing}, timeout=min(TICK_SECONDS, max(0.0, due - loop.time())))
        if session.acknowledged_bytes != have:
            have, due = session.acknowledged_bytes, loop.time() + seconds
            if not closing.done():
                moved()
        elif not closing.done() and loop.time() >= due:
            silent = f"for {seconds:g} seconds nothing came to {session.peer}, who has not said that everything has arrived"
            raise Timeout(silent)


# --- the peer's devices ---------------------------------------------------------------------------------------------


async def online_devices(
    client: ClientXMPP, peer: JID, seconds: float, tell: Progress, *, subscribe: bool = False
) -> list[str]:
    """Return the full JIDs of the peer's online devices, highest priority first; or the one that ``peer`` names.

    ``subscribe`` asks the peer to share their presence, and waits up to ``seconds`` for it. Raises PeerOffline,
    PresenceNotShared.
    """
    if peer.resource:
        return [peer.full]
    bare = peer.bare
    appeared = asyncio.Event()
    timeout, absent = PRESENCE_SECONDS, f"{bare} is not online"

    def on_presence(presence: Any) -> None:
        if presence["from"].bare == bare:
            appeared.set()

    with handling(client, {"presence_available": on_presence}):
        await client.get_roster()
        client.send_presence(ppriority=NEGATIVE_PRIORITY)
        if client.client_roster[bare]["subscription"] not in ("to", "both") and bare != client.boundjid.bare:
            if not subscribe:
                raise PresenceNotShared(f"{bare} does not let {client.boundjid.bare} see their presence")
            tell(f"asking {bare} for permission to see their presence (a subscription request); waiting for the answer")
            client.send_presence_subscription(bare)
            timeout, absent = seconds, f"{bare} is not online, or has not answered the request"
        # The server answers in order: presence that it had ready has arrived before this answer.
        await client.get_roster()
        if not appeared.is_set():
            await _wait(appeared, timeout)
            await client.get_roster()
    present = client.client_roster[bare].resources.items()
    ranked = sorted(((int(data.get("priority") or 0), f"{bare}/{name}") for name, data in present), key=lambda one: -one[0])
    devices = [full for priority, full in ranked if priority >= 0 and full != client.boundjid.full]  # RFC 6121 §8.5.2.1.1
    if not devices:
        raise PeerOffline(absent)
    return devices[:MAX_DEVICES]


async def _wait(event: asyncio.Event, seconds: float) -> None:
    """Wait for the event, up to ``seconds``."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
