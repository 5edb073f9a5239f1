"""Makes core sessions: gathers what holds for the peer now, our key, what is shared, and what is known of the peer's keys."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from slixmpp_e2e.events import E2EEvent, SessionRefused
from slixmpp_e2e.jids import bare
from slixmpp_e2e.sessions.admission.allow_list import AllowList
from slixmpp_e2e.store.errors import StoreError
from slixmpp_e2e.trust.own_key import OwnKeyLoader
from slixmpp_e2e.trust.peer_settings import PeerSettingsLookup
from slixmpp_e2e.trust.store_poller import StorePoller
from xmpp_e2e.config import Config, Timeouts
from xmpp_e2e.errors import E2EError, JingleError
from xmpp_e2e.inner.resumption import Resumptions
from xmpp_e2e.session import Session
from xmpp_e2e.types import Assurance, Role


@dataclass(frozen=True)
class SessionTerms:
    """The settings that are the same for every session."""

    require_post_quantum: bool
    fast_open: bool
    timeouts: Timeouts


class SessionFactory:
    """Makes core sessions between two full JIDs, on the terms of the moment."""

    def __init__(
        self,
        terms: SessionTerms,
        own_key: OwnKeyLoader,
        peers: PeerSettingsLookup,
        poller: StorePoller,
        allow_list: AllowList,
        shared_secrets: Callable[[str, str], Mapping[str, bytes]],
        promptable_methods: Callable[[str, str], frozenset[str]],
        emit: Callable[[E2EEvent], None],
        resumptions: Resumptions,
    ) -> None:
        """``shared_secrets``: what is shared with an account by an account of ours, by method; empty: the session will
        ask for it. E2EError if it cannot be used.
        ``promptable_methods``: those for which our user can be asked about an account, for an account of ours."""
        self._terms, self._own_key, self._peers, self._poller = terms, own_key, peers, poller
        self._allow_list, self._emit = allow_list, emit
        self._shared_secrets, self._promptable_methods = shared_secrets, promptable_methods
        self._resumptions = resumptions

    def create(self, role: Role, own_jid: str, peer: str, min_assurance: Assurance = Assurance.NONE) -> Session:
        """Return a session; ``min_assurance`` is a minimum beyond the settings'. E2EError if secrets cannot be used.

        For the responder that is a JingleError: the peer only learns that we want no session, and our user hears why. (Any
        other error, raised while a peer's stanza is looked at, would end the client's stream.)
        """
        account, own_account = bare(peer), bare(own_jid)
        if role is Role.INITIATOR:
            self._allow_list.note_offer(account, own_account)
        self._poller.start()  # before we look up what is known: whatever changes afterwards is noticed
        settings = self._peers.of(account)
        try:
            secrets = self._shared_secrets(account, own_account)
        except StoreError:
            raise
        except E2EError as error:
            if role is Role.INITIATOR:
                raise
            self._emit(SessionRefused(account, error))
            raise JingleError("what should prove the peer cannot be used", "not-allowed") from None
        identity = self._own_key.current()
        config = Config(
            own_jid=own_jid,
            peer_jid=peer,
            own_key=identity.own_key,
            rotations=identity.rotations,
            random=os.urandom,
            trust_model=settings.trust_model,
            min_assurance=max(min_assurance, settings.min_assurance),
            on_key_change=settings.on_key_change,
            require_post_quantum=self._terms.require_post_quantum,
            fast_open=self._terms.fast_open,
            timeouts=self._terms.timeouts,
            required_methods=tuple(secrets),
            verify_when=settings.verify_when,
            shared_secrets={method: secret for method, secret in secrets.items() if secret},
            promptable_methods=self._promptable_methods(account, own_account) | {each for each in secrets if not secrets[each]},
        )
        return Session(role, config, self._peers.known_keys(account, own_account), self._resumptions)
