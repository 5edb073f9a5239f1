"""Every error that a user can meet has a chosen exit code."""

from __future__ import annotations

from itertools import combinations

import pytest

import slixmpp_e2e.errors
import slixmpp_e2e.store.errors
import xmpp_e2e.errors
import xmpp_e2e_cli.errors
from slixmpp_e2e.alarms import words
from slixmpp_e2e.errors import NotSent, NotSentReason, PeerOffline
from xmpp_e2e.errors import (
    AuthenticationFailed,
    BytestreamViolation,
    E2EError,
    PeerRefused,
    Timeout,
    UntrustedKey,
)
from xmpp_e2e_cli.account import KEYRING_SERVICE, PASSWORD_VARIABLE
from xmpp_e2e_cli.cmd_protection import NEW_PASSPHRASE_VARIABLE, PASSPHRASE_VARIABLE
from xmpp_e2e_cli.errors import ConnectionFailed, ConnectionReason, UsageError, UsageReason
from xmpp_e2e_cli.exit_codes import ExitCode, exit_code_of, most_urgent

KINDS = [
    kind
    for module in (xmpp_e2e.errors, slixmpp_e2e.errors, slixmpp_e2e.store.errors, xmpp_e2e_cli.errors)
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, E2EError) and kind not in (E2EError, xmpp_e2e_cli.errors.DemoFailed)
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_no_error_of_the_library_counts_as_a_bug(kind: type[E2EError]) -> None:
    """A new subclass inherits the code of its base class; a new base class needs its own."""
    assert exit_code_of(kind.__new__(kind)) is not ExitCode.BUG


def test_a_class_goes_before_its_family() -> None:
    """UntrustedKey is an AuthenticationFailed, and has a code of its own."""
    assert exit_code_of(UntrustedKey("")) is ExitCode.UNTRUSTED
    assert exit_code_of(BytestreamViolation("")) is ExitCode.NETWORK
    assert exit_code_of(E2EError("")) is ExitCode.BUG


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (NotSentReason.ROUTE_UNKNOWN, ExitCode.NETWORK),
        (NotSentReason.SESSION_CLOSED, ExitCode.NETWORK),
        (NotSentReason.SESSION_OUTRANKED, ExitCode.UNTRUSTED),
        (NotSentReason.SERVER_WOULD_READ, ExitCode.POLICY),
        (NotSentReason.ROOM_NOT_ENTERED, ExitCode.POLICY),
        (NotSentReason.QUEUE_FULL, ExitCode.UNAVAILABLE),
        (NotSentReason.QUEUED_TOO_LONG, ExitCode.UNAVAILABLE),
        (NotSentReason.TOO_MANY_SESSIONS, ExitCode.UNAVAILABLE),
    ],
)
def test_a_stanza_that_was_not_sent_has_the_code_of_its_reason(reason: NotSentReason, code: ExitCode) -> None:
    assert exit_code_of(NotSent("", reason)) is code


@pytest.mark.parametrize("reason", ConnectionReason)
def test_each_reason_of_a_failed_connection_has_words(reason: ConnectionReason) -> None:
    """What likely happened, and the way out; and the attack, where no password was sent."""
    error = ConnectionFailed("", reason)
    its = words(error)
    assert exit_code_of(error) is ExitCode.NETWORK
    assert its.likely
    assert its.remedy
    assert its.attack or "password was not sent" not in its.remedy


@pytest.mark.parametrize("reason", UsageReason)
def test_each_reason_of_a_wrong_use_is_1(reason: UsageReason) -> None:
    assert exit_code_of(UsageError("", reason)) is ExitCode.USAGE


@pytest.mark.parametrize(
    ("reason", "names"),
    [
        (UsageReason.PASSWORD_NEEDED, (PASSWORD_VARIABLE, KEYRING_SERVICE)),
        (UsageReason.PASSPHRASE_NEEDED, (PASSPHRASE_VARIABLE, NEW_PASSPHRASE_VARIABLE)),
        (UsageReason.NO_TERMINAL, ("--password --file FILE",)),
        (UsageReason.NO_PROSODY, ("--server",)),
    ],
)
def test_the_way_out_names_what_helps(reason: UsageReason, names: tuple[str, ...]) -> None:
    """The variables are those that the command reads."""
    remedy = words(UsageError("", reason)).remedy
    assert all(name in remedy for name in names)


def test_of_several_errors_the_most_urgent_is_told() -> None:
    """An absent device must not hide a changed key of another one."""
    by_urgency = [
        E2EError(""),
        UntrustedKey(""),
        AuthenticationFailed(""),
        PeerRefused(""),
        Timeout(""),
        UsageError("", UsageReason.NO_TERMINAL),
        PeerOffline(""),
    ]
    assert {exit_code_of(error) for error in by_urgency} == {*ExitCode} - {ExitCode.OK}
    for first, later in combinations(by_urgency, 2):
        assert most_urgent([later, first]) is most_urgent([first, later]) is first
