"""Which exit code an error ends the command with: one table."""

from __future__ import annotations

import enum

from slixmpp_e2e.errors import (
    HeldTooLong,
    HoldQueueFull,
    PeerOffline,
    PeerWithoutE2E,
    PlaintextRefused,
    RouteUnknown,
    SessionGone,
    TooManySessions,
)
from slixmpp_e2e.store import KeyBlocked, StoreError
from slixmpp_e2e.verification.verifier import Locked, PeerDeclined
from xmpp_e2e import errors


class Exit(enum.IntEnum):
    """What the exit code says."""

    OK = 0
    USAGE = 1
    """The command line, the account's set-up or the store has to be put right first."""
    BUG = 2
    NETWORK = 3
    """The network, the server, or somebody on the path."""
    UNTRUSTED = 4
    """The peer's key is not good enough, or it has changed."""
    REFUSED = 5
    """An authentication did not succeed, here or at the peer's."""
    UNAVAILABLE = 6
    """The peer is offline or without end-to-end encryption."""
    POLICY = 7
    """A policy, ours or the peer's, says no."""


class UsageProblem(errors.E2EError):
    """The command cannot do this as it was asked."""


class RefusedByPolicy(errors.E2EError):
    """Our own policy says no."""

    likely = "The policy `off` was set for this peer, by you or by a program that uses the same store."
    remedy = "Nothing was sent. Set another policy in that program: set_policy(peer, \"prefer\")."


class ServerUnreachable(errors.E2EError):
    """No stream to the server could be opened."""

    likely = "The server is down, or its name or port is wrong."
    attack = "Somebody on the path can cut the line; he learns nothing by it."
    remedy = "Check the address; --host and --port name a server that DNS does not."


class CertificateRefused(errors.E2EError):
    """The server's certificate is not valid for its domain."""

    likely = "The server uses a certificate of its own making, or an expired one."
    attack = "Somebody who poses as your server to get at your password would look exactly like this."
    remedy = "The password was not sent. For an authority of your own: --ca-file FILE.pem."


class NoTLS(errors.E2EError):
    """The server offers no TLS."""

    likely = "The server, or its port, is one for tests."
    attack = "Somebody on the path who strips the offer of TLS to get at your password would look exactly like this."
    remedy = "The password was not sent. Check the address; --direct-tls is for ports where TLS begins at once."


class PasswordRefused(errors.E2EError):
    """The server did not take the password."""

    likely = "The password or the account's name is misspelt."
    remedy = "Check both; the password comes from --password-file, XMPP_E2E_PASSWORD, the keyring or the prompt."


class ConnectionLost(errors.E2EError):
    """The stream to the server ended in the middle."""

    likely = "The network failed, the server was restarted, or somebody logged in with the same resource."
    remedy = "Start the command again."


class Untold(errors.E2EError):
    """A demonstration could not show what it wanted to show."""

    remedy = "Please report this together with what was printed above."


_CODES: dict[type[BaseException], Exit] = {
    UsageProblem: Exit.USAGE,
    StoreError: Exit.USAGE,
    errors.LocalError: Exit.USAGE,
    KeyBlocked: Exit.POLICY,
    Untold: Exit.BUG,
    ServerUnreachable: Exit.NETWORK,
    CertificateRefused: Exit.NETWORK,
    NoTLS: Exit.NETWORK,
    PasswordRefused: Exit.NETWORK,
    ConnectionLost: Exit.NETWORK,
    SessionGone: Exit.NETWORK,
    errors.TransportFailed: Exit.NETWORK,
    errors.Truncated: Exit.NETWORK,
    errors.TimedOut: Exit.NETWORK,
    errors.GivenUp: Exit.NETWORK,
    # Who breaks the protocol may sit on the path as well as at its end.
    errors.PeerMisbehaved: Exit.NETWORK,
    errors.FingerprintMismatch: Exit.UNTRUSTED,
    errors.ReflectedKey: Exit.UNTRUSTED,
    errors.UntrustedKey: Exit.UNTRUSTED,
    errors.AuthenticationFailed: Exit.REFUSED,
    Locked: Exit.REFUSED,
    PeerDeclined: Exit.REFUSED,
    PeerOffline: Exit.UNAVAILABLE,
    PeerWithoutE2E: Exit.UNAVAILABLE,
    HeldTooLong: Exit.UNAVAILABLE,
    HoldQueueFull: Exit.UNAVAILABLE,
    TooManySessions: Exit.UNAVAILABLE,
    RouteUnknown: Exit.NETWORK,
    errors.PeerIncompatible: Exit.UNAVAILABLE,
    # Asked only whoever has just said that he speaks our protocol: he is there, and he does not want us.
    errors.PeerRefused: Exit.POLICY,
    PlaintextRefused: Exit.POLICY,
    RefusedByPolicy: Exit.POLICY,
}


def code_of(error: errors.E2EError) -> Exit:
    """The exit code of the most specific class that has one."""
    return next((_CODES[kind] for kind in type(error).__mro__ if kind in _CODES), Exit.BUG)


def worst(found: list[errors.E2EError]) -> errors.E2EError:
    """Of several errors the one that a person must hear of: an untrusted key before all, an absent peer last."""
    return min(found, key=lambda error: _URGENCY.index(code_of(error)))


_URGENCY = (Exit.BUG, Exit.UNTRUSTED, Exit.REFUSED, Exit.POLICY, Exit.NETWORK, Exit.USAGE, Exit.UNAVAILABLE, Exit.OK)
