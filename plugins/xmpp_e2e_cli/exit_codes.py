"""Map each error to the exit code of the command, in one table."""

from __future__ import annotations

import enum

from slixmpp_e2e.alarms import reason_of
from slixmpp_e2e.errors import (
    MemoryExceeded,
    NotSent,
    NotSentReason,
    PasswordLocked,
    PeerOffline,
    PeerWithoutE2E,
    PlaintextNotAllowed,
    RefusedByPolicy,
    TooManyRuns,
    VerificationDeclined,
)
from slixmpp_e2e.store import KeyBlocked, StoreError
from xmpp_e2e import errors
from xmpp_e2e_cli.errors import ConnectionFailed, DemoFailed, UsageError


class ExitCode(enum.IntEnum):
    """The exit codes, a public interface for scripts."""

    OK = 0
    USAGE = 1
    """The command line, the account's set-up or the store needs a correction first."""
    BUG = 2
    NETWORK = 3
    """The network or the server failed, or somebody on the path interfered."""
    UNTRUSTED = 4
    """The peer's key is not verified enough, or it has changed."""
    REFUSED = 5
    """A verification failed, on this side or on the peer's."""
    UNAVAILABLE = 6
    """The peer is offline or without end-to-end encryption."""
    POLICY = 7
    """Our policy or the peer's forbids it."""


_CODES: dict[type[BaseException], ExitCode] = {
    UsageError: ExitCode.USAGE,
    StoreError: ExitCode.USAGE,
    errors.LocalError: ExitCode.USAGE,
    KeyBlocked: ExitCode.POLICY,
    DemoFailed: ExitCode.BUG,
    ConnectionFailed: ExitCode.NETWORK,
    errors.BytestreamFailed: ExitCode.NETWORK,
    errors.UncleanClose: ExitCode.NETWORK,
    errors.Timeout: ExitCode.NETWORK,
    errors.SessionCancelled: ExitCode.NETWORK,
    MemoryExceeded: ExitCode.NETWORK,
    # Somebody on the path may have broken the protocol, or the peer.
    errors.PeerMisbehaved: ExitCode.NETWORK,
    errors.UntrustedKey: ExitCode.UNTRUSTED,
    errors.AuthenticationFailed: ExitCode.REFUSED,
    PasswordLocked: ExitCode.REFUSED,
    TooManyRuns: ExitCode.REFUSED,
    VerificationDeclined: ExitCode.REFUSED,
    PeerOffline: ExitCode.UNAVAILABLE,
    PeerWithoutE2E: ExitCode.UNAVAILABLE,
    NotSent: ExitCode.UNAVAILABLE,
    errors.PeerIncompatible: ExitCode.UNAVAILABLE,
    # Only a peer that has just announced our protocol gets an offer: it is online, and it refuses us.
    errors.PeerRefused: ExitCode.POLICY,
    errors.PeerBusy: ExitCode.UNAVAILABLE,
    PlaintextNotAllowed: ExitCode.POLICY,
    RefusedByPolicy: ExitCode.POLICY,
}

_BY_REASON: dict[enum.Enum, ExitCode] = {
    errors.Code.FINGERPRINT_MISMATCH: ExitCode.UNTRUSTED,
    errors.Code.REFLECTED_KEY: ExitCode.UNTRUSTED,
    NotSentReason.ROUTE_UNKNOWN: ExitCode.NETWORK,
    NotSentReason.SESSION_CLOSED: ExitCode.NETWORK,
    NotSentReason.SESSION_OUTRANKED: ExitCode.UNTRUSTED,
    NotSentReason.SERVER_WOULD_READ: ExitCode.POLICY,
    NotSentReason.ROOM_NOT_ENTERED: ExitCode.POLICY,
}
"""Where it is not that of the class."""


def exit_code_of(error: errors.E2EError) -> ExitCode:
    """Return the exit code of the reason, or of the most specific class that has one."""
    if (code := _BY_REASON.get(reason_of(error))) is not None:
        return code
    return next((_CODES[kind] for kind in type(error).__mro__ if kind in _CODES), ExitCode.BUG)


def most_urgent(found: list[errors.E2EError]) -> errors.E2EError:
    """Return the error that the user must see first: an untrusted key before all others, an absent peer last."""
    return min(found, key=lambda error: _URGENCY.index(exit_code_of(error)))


_URGENCY = (
    ExitCode.BUG,
    ExitCode.UNTRUSTED,
    ExitCode.REFUSED,
    ExitCode.POLICY,
    ExitCode.NETWORK,
    ExitCode.USAGE,
    ExitCode.UNAVAILABLE,
    ExitCode.OK,
)
