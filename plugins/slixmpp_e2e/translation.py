"""The events for users that core events become."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from slixmpp_e2e.alarms import key_alarm
from slixmpp_e2e.events import (
    AssuranceChanged,
    KeyChanged,
    KeyRotated,
    PeerSasResult,
    SessionClosed,
    SessionEvent,
    SessionFailed,
    SessionOpened,
    VerificationRequested,
    VerificationRequired,
)
from slixmpp_e2e.jids import bare
from slixmpp_e2e.sessions import driver
from xmpp_e2e import events as core

if TYPE_CHECKING:
    from slixmpp_e2e.session import E2ESession


def _key_changed(session: E2ESession, event: core.KeyChanged) -> KeyChanged:
    assessment, text = event.assessment, key_alarm(event.assessment, bare(session.peer))
    return KeyChanged(session, assessment.status.value, assessment.fingerprint, event.known, assessment.decision.value, text)


def _verification_required(session: E2ESession, event: core.VerificationRequired) -> VerificationRequired:
    assessment, text = event.assessment, key_alarm(event.assessment, bare(session.peer))
    return VerificationRequired(session, assessment.status.value, assessment.fingerprint, event.methods, text)


FROM_CORE: dict[type[Any], Callable[[E2ESession, Any], SessionEvent]] = {
    core.SessionOpened: lambda session, it: SessionOpened(session, it.assurance, it.fingerprint),
    driver.AssuranceChanged: lambda session, it: AssuranceChanged(session, it.before, it.now),
    core.SessionClosed: lambda session, it: SessionClosed(session, it.clean, it.error),
    core.SessionFailed: lambda session, it: SessionFailed(session, it.error),
    core.KeyChanged: _key_changed,
    core.KeyRotated: lambda session, it: KeyRotated(session, it.old, it.new),
    core.VerificationRequired: _verification_required,
    core.VerificationRequested: lambda session, it: VerificationRequested(session, it.method, it.form, it.started),
    core.PeerSasResult: lambda session, it: PeerSasResult(session, it.match),
}
"""The events for users that core events become, from the session and the core event."""
