"""The slixmpp plugin ``e2e``: one ``register_plugin`` line, and what users may ask of it afterwards."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any, ClassVar

from slixmpp import JID, ClientXMPP
from slixmpp.plugins import BasePlugin

from slixmpp_e2e.client import Switchboard
from slixmpp_e2e.sessions.driver import Link
from slixmpp_e2e.settings import DEFAULTS, ConfigError, Settings, accept_from, unknown_keys
from slixmpp_e2e.store import SQLStore, StoreError
from slixmpp_e2e.trust.keys import Trust
from slixmpp_e2e.trust.own_key import Own
from slixmpp_e2e.trust.secrets import Shared
from slixmpp_e2e.trust.trust_file.watcher import Declared, Terms
from slixmpp_e2e.xmpp import adapter, discovery
from xmpp_e2e.errors import E2EError, GivenUp, TransportFailed
from xmpp_e2e.identity import Assurance, Fingerprint, TrustModel
from xmpp_e2e.tls.certificate import Identity
from xmpp_e2e.trust.policy import Policy

log = logging.getLogger("slixmpp_e2e")


class E2E(BasePlugin):
    """End-to-end encrypted sessions with other clients, and all that unmodified code needs to use them."""

    name = "e2e"
    description = "End-to-end encryption by TLS streams between two clients"
    dependencies: ClassVar[set[str]] = {"xep_0030", "xep_0115"}
    default_config: ClassVar[dict[str, Any]] = DEFAULTS

    def __setattr__(self, key: str, value: Any) -> None:
        """slixmpp lets everybody set a plugin's configuration by attributes; here that would change nothing, silently."""
        if key in DEFAULTS and self._is_loaded:
            at_any_time = "set_policy() is for one peer, set_accept_from() for all, at any time"
            raise ConfigError(f"{key} is read once, when the plugin is registered ({at_any_time})")
        super().__setattr__(key, value)  # type: ignore[no-untyped-call]

    # --- life ------------------------------------------------------------------------------------------------------

    def plugin_init(self) -> None:
        """Open the store and take the filters' places; ConfigError, TrustFileWrong or StoreError if that cannot be."""
        try:
            self._open()
        except E2EError:
            adapter.unload(self.xmpp, self.name)
            raise
        self._tasks: set[asyncio.Task[Any]] = set()
        self.switchboard = Switchboard(self.xmpp, self.settings, self.memory, self.own, self.declared)
        self.trust = Trust(self.memory, self.switchboard.trust_changed)
        self.shared = Shared(self.memory, self.xmpp.boundjid.bare)
        for event, handler in self._handlers.items():
            self.xmpp.add_event_handler(event, handler)
        if self.xmpp.session_bind_event.is_set():
            self._join()

    def plugin_end(self) -> None:
        """End everything: sessions are cut (``await close()`` before for farewells), held stanzas fail, nothing stays."""
        if not self._is_loaded:
            return
        for event, handler in self._handlers.items():
            self.xmpp.del_event_handler(event, handler)
        self.switchboard.unplug(TransportFailed("the e2e plugin was unloaded"))
        for task in self._tasks:
            task.cancel()
        self.own.forget()
        self.memory.close()
        self.xmpp.loop.create_task(discovery.withdraw(self.xmpp))

    def session_bind(self, jid: JID) -> None:
        """A new stream: sessions of an earlier one are over. Advertise."""
        if self._is_loaded:  # slixmpp calls this before plugin_init() when a stream is up already
            self._stream_lost(None)
            self._spawn(self._advertise(announce=False))  # the client has yet to send its first presence

    def _open(self) -> None:
        unknown_keys(self.config)
        self.settings = Settings.parse(self.config, component=self.xmpp.is_component)
        terms = Terms(self.settings.policy, self.settings.trust_model, self.settings.on_key_change, each=self.settings.each)
        self.declared = Declared(self.settings.trust_file, terms)
        path = self.settings.store
        seal = self.settings.seal
        self.memory = SQLStore.open(path, seal) if path else SQLStore.for_jid(self.xmpp.boundjid.bare, sealer=seal)
        try:
            self.own = Own(self.xmpp.loop, self.memory, slow=seal is not None and seal.slow, done=self._unlocked)
        except E2EError:
            self.memory.close()
            raise

    def _unlocked(self, error: BaseException | None) -> None:
        if isinstance(error, StoreError):
            self.switchboard.store_failed(error)
        elif error is not None:
            log.error("the store could not be opened (%s)", type(error).__name__)
        for notice in (self.memory.migrated_notice, self.memory.created_notice):
            if notice:
                log.info("%s", notice)

    async def _advertise(self, *, announce: bool) -> None:
        """Once a session can be answered; if that has to be waited for, the client may have sent its first presence."""
        late = not self.own.is_open
        with suppress(StoreError):  # told already
            await self.own.opened()
            seen = late and self.xmpp.client_roster.last_status is not None
            await discovery.advertise(self.xmpp, announce=announce or seen)

    def _join(self) -> None:
        """The stream was up before we came."""
        self.switchboard.presences.adopt(self.xmpp.boundjid.bare, self.xmpp.client_roster)
        self._spawn(self._advertise(announce=True))
        self._stream_started(None)

    @property
    def _is_loaded(self) -> bool:
        return "switchboard" in vars(self)

    @property
    def _handlers(self) -> dict[str, Callable[[Any], None]]:
        return {
            "session_start": self._stream_started,
            "session_resumed": self._stream_resumed,
            "session_end": self._stream_lost,
            "disconnected": self._disconnected,
        }

    def _stream_started(self, event: Any) -> None:
        """``accept_from = "roster"`` needs one, and simple bots never ask for theirs."""
        self.switchboard.iqs.go_on()
        self.switchboard.stream_started()
        if self.settings.accept_from == "roster":
            self._spawn(self._load_roster())

    async def _load_roster(self) -> None:
        if isinstance(self.xmpp, ClientXMPP):
            await self.xmpp.get_roster()

    def _stream_resumed(self, event: Any) -> None:
        self.switchboard.iqs.go_on()

    def _disconnected(self, event: Any) -> None:
        self.switchboard.iqs.pause()

    def _stream_lost(self, event: Any) -> None:
        """The client's stream is gone for good; one that is resumed (XEP-0198) never gets here."""
        lost = TransportFailed("our own connection to the server was lost")
        self.switchboard.stream_lost(lost, reopen=self.settings.reopen)

    def _spawn(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        task = self.xmpp.loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("in the background: %s", error)

    # --- for users -------------------------------------------------------------------------------------------------

    async def unlocked(self) -> None:
        """Until our own key is there: not at once if ``seal`` is a passphrase or the keyring. StoreError if it never is."""
        await self.own.opened()

    @property
    def identity(self) -> Identity:
        """Our own key and certificate. StoreLocked before ``unlocked()``."""
        return self.own.identity

    @property
    def fingerprint(self) -> Fingerprint:
        """Our own key's fingerprint, for the peer to pin. StoreLocked before ``unlocked()``."""
        return self.identity.fingerprint

    def sessions(self) -> tuple[Link, ...]:
        """The sessions that are open."""
        return tuple(link for link in self.switchboard.sessions if link.is_open)

    async def connect(self, peer: str, require: str | Assurance | None = None) -> Link:
        """A session with ``peer`` (a full JID, or a bare one: its best resource with E2E), when both hellos are checked.

        ``require`` is a minimum assurance beyond the trust model's: stanzas wait until it is met (``await
        session.opened()``). Raises what made it fail: PeerOffline, PeerWithoutE2E, PeerRefused, UntrustedKey, TimedOut …
        """
        minimum = Assurance.parse(str(require)) if require is not None else Assurance.NONE
        target = await self.switchboard.best(self.xmpp.boundjid.full, str(JID(peer)))
        while True:
            link = self.switchboard.sessions.ensure(*target, minimum)
            try:
                await link.greeted()
                if link.minimum >= minimum or link.assurance >= minimum:
                    return link
                await link.opened()  # it began on other terms: perhaps it will do, or else it makes room for one that does
            except GivenUp:
                continue  # the peer's own offer took its place (tie-break)

    async def close(self) -> None:
        """End all sessions by farewells."""
        await asyncio.gather(*(link.close() for link in self.switchboard.sessions))

    def set_policy(
        self, peer: str, policy: str | Policy | None = None, trust_model: str | TrustModel | None = None
    ) -> None:
        """The policy and the trust model for one peer's account, stored; None leaves what is there."""
        bare = JID(peer).bare
        terms = self.memory.policy(bare)
        if policy is not None:
            terms = replace(terms, policy=Policy(policy))
        if trust_model is not None:
            terms = replace(terms, trust_model=TrustModel(trust_model))
        self.memory.set_policy(bare, terms)
        self.switchboard.outbox.forget_routes(bare)

    def set_accept_from(self, who: str | Iterable[str] | None) -> None:
        """From now on these may open sessions with us, as in the setting ``accept_from``; for this run. Sessions that are there
        go on. ConfigError."""
        allowed = accept_from(who, self.xmpp.is_component)
        self.settings = replace(self.settings, accept_from=allowed)
        self.switchboard.callers.allow(allowed)
        if allowed == "roster" and self.xmpp.session_bind_event.is_set():
            self._spawn(self._load_roster())

    def allow_plaintext(self, peer: str) -> None:
        """Under ``prefer``: a peer with whom we have had E2E may be written to in clear while he is without it."""
        bare = JID(peer).bare
        self.memory.set_policy(bare, replace(self.memory.policy(bare), plaintext_allowed=True))
        self.switchboard.outbox.forget_routes(bare)
