"""The slixmpp plugin ``e2e``: one ``register_plugin`` line, and what programs may ask of it afterwards."""

from __future__ import annotations

import asyncio
import copy
import logging
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from typing import Any, ClassVar

from slixmpp import JID, ClientXMPP
from slixmpp.basexmpp import BaseXMPP
from slixmpp.plugins import BasePlugin
from slixmpp.xmlstream.stanzabase import StanzaBase

from slixmpp_e2e import events
from slixmpp_e2e.client import Client
from slixmpp_e2e.errors import ConfigError, NotSent, NotSentReason
from slixmpp_e2e.messages.outlook import Outlook
from slixmpp_e2e.policy import Policy
from slixmpp_e2e.session import E2ESession
from slixmpp_e2e.settings import CHANGEABLE, DEFAULTS, Settings, accept_from
from slixmpp_e2e.store import SQLStore, StoreError
from slixmpp_e2e.trust.keys import PeerKeys
from slixmpp_e2e.trust.own_address import own_end
from slixmpp_e2e.trust.own_key import OwnKeyLoader, rotate_own_key
from slixmpp_e2e.trust.secrets import PeerSecrets
from slixmpp_e2e.trust.trust_file.watcher import TrustFile
from slixmpp_e2e.xmpp import adapter, outcomes
from slixmpp_e2e.xmpp.log_filter import HideContent
from xmpp_e2e.errors import BytestreamFailed, E2EError
from xmpp_e2e.tls.certificate import OwnKey
from xmpp_e2e.types import Assurance, Fingerprint, TrustModel

log = logging.getLogger("slixmpp_e2e")


class E2E(BasePlugin):
    """End-to-end encrypted sessions with other clients. Unmodified code uses them: what it sends to a peer goes through one.

    The settings are those of ``slixmpp_e2e.settings.DEFAULTS``, the events are the classes of ``slixmpp_e2e.events``.
    """

    name = "e2e"
    description = "End-to-end encryption by TLS streams between two clients"
    dependencies: ClassVar[set[str]] = {"xep_0030", "xep_0115"}
    default_config: ClassVar[dict[str, Any]] = DEFAULTS

    trust: PeerKeys
    """Decisions about the keys of peers: pin, block, forget, list."""
    secrets: PeerSecrets
    """Passwords and keys that are shared with peers."""

    def __setattr__(self, key: str, value: Any) -> None:
        """Refuse settings as attributes: slixmpp lets everybody set them, and here that would change nothing, in silence."""
        if key in DEFAULTS and self._is_loaded:
            raise ConfigError(f"{key} is no attribute: configure({key}=…) changes it, if a running program can change it")
        super().__setattr__(key, value)  # type: ignore[no-untyped-call]

    # --- life ------------------------------------------------------------------------------------------------------

    def plugin_init(self) -> None:
        """Open the store and add the filters; ConfigError, SlixmppUnsupported, TrustFileError or StoreError if that fails."""
        try:
            adapter.check_version()
            for event in events.RENAMED:
                if self.xmpp.event_handled(event):
                    self._check_event(event)
            self._open()
        except E2EError:
            adapter.unload(self.xmpp, self.name)
            raise
        self._tasks: set[asyncio.Task[Any]] = set()
        self._client = client = Client(self.xmpp, self._settings, self._store, self._own_key, self._trust_file)
        self.trust = PeerKeys(self._store, client.on_keys, self.xmpp.boundjid.bare)
        self.secrets = PeerSecrets(self._store, self.xmpp.boundjid.bare)
        self._log_filter = HideContent()
        if self._settings.hide_in_logs:
            self._log_filter.install()
        self._guards = (
            adapter.guard_registration(self.xmpp, self.name, self._check_same),
            adapter.guard_handlers(self.xmpp, self._check_event),
            adapter.guard_disconnect(
                self.xmpp,
                lambda: client.flusher.must_finish,
                client.flusher.finish,
                client.give_up,
            ),
            adapter.guard_send_queue(self.xmpp, client.streams.take_early),
        )
        for event, handler in self._handlers.items():
            self.xmpp.add_event_handler(event, handler)
        if self.xmpp.session_bind_event.is_set():
            self._join()

    def plugin_end(self) -> None:
        """End everything. Sessions are cut (``await close()`` before for farewells), and what waits fails."""
        if not self._is_loaded:
            return
        for end_guard in self._guards:
            end_guard()
        for event, handler in self._handlers.items():
            self.xmpp.del_event_handler(event, handler)
        self._client.unload(BytestreamFailed("the e2e plugin was unloaded"))
        self._log_filter.remove()
        for task in self._tasks:
            task.cancel()
        self._own_key.cancel()
        self._store.end()
        self._spawn("withdrawing what was advertised", self._client.advertiser.withdraw())

    def session_bind(self, jid: JID) -> None:
        """A new stream: sessions of an earlier one are over. Advertise."""
        if self._is_loaded:  # slixmpp calls this before plugin_init() when a stream is up already
            self._on_stream_lost(None)
            self._client.watch()
            # not announced: the client has yet to send its first presence
            self._spawn("advertising end-to-end encryption", self._advertise(announce=False))

    def _open(self) -> None:
        self._settings = settings = Settings.parse(self.config, component=self.xmpp.is_component)
        self._trust_file = TrustFile(settings.trust_file, settings.defaults.trust_model)
        path, protection = settings.store_path, settings.key_protection
        if path is not None:
            self._store = SQLStore.open(path, protection)
        else:
            self._store = SQLStore.for_jid(self.xmpp.boundjid.bare, protection=protection)
        self._store.component = self.xmpp.boundjid.bare if self.xmpp.is_component else None
        try:
            slow = protection is not None and protection.is_slow
            self._own_key = OwnKeyLoader(lambda: self.xmpp.loop, self._store, in_thread=slow, on_loaded=self._on_key_loaded)
        except E2EError:
            self._store.close()
            raise

    def _check_same(self, config: dict[str, Any] | None) -> None:
        """Refuse a second registration with other settings: slixmpp would ignore it in silence."""
        if config and {**DEFAULTS, **config} != self.config:
            raise ConfigError("the plugin e2e is registered already, with other settings; unload it first to change them")

    def _check_event(self, event: str) -> None:
        """Refuse a handler of an event by its former name: it would never be called."""
        if (new := events.RENAMED.get(event)) is not None:
            raise ConfigError(f"the event {event} is called {new} now")

    def _on_key_loaded(self, error: BaseException | None) -> None:
        if isinstance(error, StoreError):
            self._client.on_store_error(error)
        elif error is not None:
            log.error("the store could not be opened (%s)", type(error).__name__)
        for notice in (self._store.migration_notice, self._store.key_notice):
            if notice:
                log.info("%s", notice)

    async def _advertise(self, *, announce: bool) -> None:
        """Advertise once a session can be answered; announce it if the client has sent presence by then."""
        late = not self._own_key.is_loaded
        with suppress(StoreError):  # an event tells so
            await self._own_key.wait_loaded()
            await self._client.advertiser.advertise(announce=announce or late)

    def _join(self) -> None:
        """Use a stream that was up before the plugin was loaded."""
        self._client.join()
        self._spawn("advertising end-to-end encryption", self._advertise(announce=True))
        self._on_stream_started(None)

    @property
    def _is_loaded(self) -> bool:
        return "_client" in vars(self)

    @property
    def _handlers(self) -> dict[str, Callable[[Any], None]]:
        return {
            "session_start": self._on_stream_started,
            "session_resumed": self._on_stream_resumed,
            "session_end": self._on_stream_lost,
            "disconnected": self._on_disconnected,
            "roster_update": self._on_roster,
        }

    def _on_stream_started(self, event: Any) -> None:
        self._client.streams.on_started()
        self._spawn("loading the roster", self._load_roster())

    async def _load_roster(self) -> None:
        """Load the roster if ``accept_from = "roster"`` needs it: simple bots never ask for theirs."""
        if isinstance(self.xmpp, ClientXMPP) and self._client.allow_list.needs_roster:
            await self.xmpp.get_roster()

    def _on_roster(self, event: Any) -> None:
        self._client.allow_list.has_roster = True
        if self._client.allow_list.needs_roster:
            self._client.changes.on_accept_from()

    def _on_stream_resumed(self, event: Any) -> None:
        self._client.resume()

    def _on_disconnected(self, event: Any) -> None:
        self._client.pause()

    def _on_stream_lost(self, event: Any) -> None:
        """The client's stream is gone for good; one that is resumed (XEP-0198) never gets here."""
        lost = BytestreamFailed("our own connection to the server was lost")
        self._client.streams.on_lost(lost, keep=self._settings.reopen)
        self._client.allow_list.has_roster = False

    def _spawn(self, what: str, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Run it in the background. ``what`` it does stands in the log if it fails."""
        task = self.xmpp.loop.create_task(coroutine, name=what)
        self._tasks.add(task)
        task.add_done_callback(self._on_task_done)

    def _on_task_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("%s failed: %s", task.get_name(), error)

    # --- for programs ----------------------------------------------------------------------------------------------

    async def wait_ready(self) -> None:
        """Wait until our own key is loaded, which takes time with a passphrase or the keyring. StoreError if it fails."""
        await self._own_key.wait_loaded()

    @property
    def own_key(self) -> OwnKey:
        """Our own key and certificate. StoreLocked before ``wait_ready()``."""
        self._own_key.refresh()
        return self._own_key.own_key

    @property
    def fingerprint(self) -> Fingerprint:
        """Our own key's fingerprint, for the peer to pin. StoreLocked before ``wait_ready()``."""
        return self.own_key.fingerprint

    async def rotate_own_key(self) -> Fingerprint:
        """Replace our own key by a new one, and return its fingerprint. StoreLocked before ``wait_ready()``; StoreError.

        The peers of open sessions are told at once, which then end by farewells, and all others in the next session. Who has
        verified the old key takes the new one for verified. Nothing is left of the old private key.
        """
        _ = self.own_key  # it must be there
        await self._store.run(rotate_own_key, self._store, self.xmpp.boundjid.bare)
        self._own_key.refresh()
        return self.fingerprint

    def sessions(self, jid: str | None = None) -> tuple[E2ESession, ...]:
        """Return the sessions that are open; with a full or bare ``jid``, those with that peer, also on their way or ending."""
        client = self._client
        if jid is None:
            return tuple(client.sessions.of(driver) for driver in client.registry if driver.is_open)
        peer = JID(jid)
        drivers = client.registry.of(peer.bare)
        return tuple(client.sessions.of(driver) for driver in drivers if not peer.resource or driver.peer == peer.full)

    async def connect(self, peer: str, require: str | Assurance | None = None, own_jid: str | None = None) -> E2ESession:
        """Return a session with ``peer`` (a full JID, or a bare one: its best device), once both hellos are checked.

        ``require`` is a minimum assurance beyond the trust model's: stanzas wait until it is met (``await
        session.wait_open()``). A component names its end, a full JID, as ``own_jid``; ConfigError if not. Raises what made it
        fail: RefusedByPolicy, PeerOffline, PeerWithoutE2E, PeerRefused, UntrustedKey, Timeout …
        """
        ours = own_end(self.xmpp, own_jid)
        minimum = Assurance.parse(str(require)) if require is not None else Assurance.NONE
        self._client.changes.on_settings(JID(peer).bare)  # another process may have changed them just now
        target = await self._client.router.best_device(ours, str(JID(peer)))
        return self._client.sessions.of(await self._client.registry.connect(target, minimum))

    async def send(
        self,
        stanza: StanzaBase,
        timeout: float | None = None,  # noqa: ASYNC109 - one line is enough for a handler
    ) -> tuple[E2ESession, ...]:
        """Send a stanza, and return the sessions in which the peer has acknowledged it: one for each device that has it; none
        if it went in plaintext, as the policy says. Raises why it failed; NotSent after ``timeout`` seconds."""
        sent = copy.copy(stanza)  # the stanza is the caller's, who may change it, and send it again, before this one's end
        done = outcomes.watch(stanza, sent, self.xmpp.loop)
        self.xmpp.send(sent)
        try:
            async with asyncio.timeout(timeout):
                return await done
        except TimeoutError:
            late = f"{stanza['to']} has not acknowledged within {timeout:g} seconds; what becomes of it, an event will tell"
            raise NotSent(late, NotSentReason.UNACKNOWLEDGED) from None

    async def flush(self, jid: str | None = None) -> None:
        """Wait until all that was sent, to an account or to all, is acknowledged or has failed (an event has told then)."""
        await self._client.flusher.flush(JID(jid).bare if jid is not None else "")

    async def close(self) -> None:
        """Wait until all that was sent is acknowledged or has failed, for ``disconnect_seconds`` at most, and end all sessions
        by farewells, which acknowledge all that went through them."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.disconnect_seconds):
                await self.flush()
        await self._client.close()

    def outlook(self, jid: str, own_jid: str | None = None) -> Outlook:
        """Return what would become of a message to a full or bare JID, as far as is known: nobody is asked. ``own_jid``
        names the sender: a component has many addresses. By default it is its domain."""
        own = str(JID(own_jid)) if own_jid is not None and self.xmpp.is_component else self.xmpp.boundjid.full
        return self._client.outlooks.of(own, str(JID(jid)))

    def cancel(self, jid: str) -> int:
        """Withdraw what waits for an account: it fails with NotSentReason.CANCELLED. Return the number of stanzas."""
        return self._client.cancel(JID(jid).bare)

    def policy_of(self, peer: str) -> Policy:
        """Return the policy that is in force with a peer's account."""
        return self._client.peers.of(JID(peer).bare).policy

    def set_policy(self, peer: str, policy: str | Policy | None = None, trust_model: str | TrustModel | None = None) -> None:
        """Store the policy and the trust model for a peer's account; None leaves what is there."""
        self._client.peers.set_policy(
            JID(peer).bare,
            Policy(policy) if policy is not None else None,
            TrustModel(trust_model) if trust_model is not None else None,
        )

    def configure(self, **changes: Any) -> None:
        """Change settings of a running program, for all that happens from now on: those of ``settings.CHANGEABLE``.

        A user interface that is built after the plugin was loaded sets its prompts so: ``configure(ask_sas=compare)``.
        ConfigError, and nothing has changed, for any other setting and for wrong values.
        """
        if fixed := sorted(set(changes) & set(DEFAULTS) - CHANGEABLE):
            changeable = ", ".join(sorted(CHANGEABLE))
            raise ConfigError(f"{', '.join(fixed)} is read once, when the plugin is registered; these can change: {changeable}")
        config = {**self.config, **changes}
        self._settings = Settings.parse(config, component=self.xmpp.is_component)
        self.config.update(changes)
        self._client.configure(self._settings)
        if self.xmpp.session_bind_event.is_set():
            self._spawn("advertising end-to-end encryption", self._advertise(announce=True))
            self._spawn("loading the roster", self._load_roster())

    def set_accept_from(self, who: str | Iterable[str] | None) -> None:
        """Replace the setting ``accept_from`` for this run. Sessions end that peers have opened who may not any more.

        ConfigError.
        """
        self._client.allow_list.allow_sessions_from(accept_from(who, self.xmpp.is_component))
        self._client.changes.on_accept_from()
        if self.xmpp.session_bind_event.is_set():
            self._spawn("advertising end-to-end encryption", self._advertise(announce=True))
            self._spawn("loading the roster", self._load_roster())

    def allow_plaintext(self, peer: str, allowed: bool = True) -> None:
        """Under ``prefer``: allow plaintext to a peer with whom we have had encryption, while they are without it; or not."""
        self._client.peers.allow_plaintext(JID(peer).bare, allowed)


def of(xmpp: BaseXMPP) -> E2E:
    """Return the plugin of a client, which has registered it. KeyError if it has not."""
    plugin = xmpp.plugin.get(E2E.name, None)
    if not isinstance(plugin, E2E):
        raise KeyError("the plugin e2e is not registered: xmpp.register_plugin('e2e', module=slixmpp_e2e)")
    return plugin
