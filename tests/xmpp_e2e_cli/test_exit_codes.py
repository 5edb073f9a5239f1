"""Every error that a user can meet has a chosen exit code."""

from __future__ import annotations

import pytest

import slixmpp_e2e.errors
import slixmpp_e2e.store.errors
import xmpp_e2e.errors
from slixmpp_e2e.errors import NotSent, NotSentReason
from xmpp_e2e.errors import (
    BytestreamViolation,
    E2EError,
    PeerRefused,
    UntrustedKey,
)
from xmpp_e2e_cli import exit_codes
from xmpp_e2e_cli.exit_codes import ExitCode, exit_code_of, most_urgent

KINDS = [
    kind
    for module in (xmpp_e2e.errors, slixmpp_e2e.errors, slixmpp_e2e.store.errors, exit_codes)
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, E2EError) and kind not in (E2EError, exit_codes.DemoFailed)
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
        (NotSentReason.QUEUE_FULL, ExitCode.UNAVAILABLE),
        (NotSentReason.QUEUED_TOO_LONG, ExitCode.UNAVAILABLE),
        (NotSentReason.TOO_MANY_SESSIONS, ExitCode.UNAVAILABLE),
    ],
)
def test_a_stanza_that_was_not_sent_has_the_code_of_its_reason(reason: NotSentReason, code: ExitCode) -> None:
    assert exit_code_of(NotSent("", reason)) is code


def test_of_several_errors_the_untrusted_key_is_told() -> None:
    """An absent device must not hide a changed key of another one."""
    untrusted = UntrustedKey("")
    absent = slixmpp_e2e.errors.PeerOffline("")
    assert most_urgent([absent, PeerRefused(""), untrusted]) is untrusted


def test_every_code_has_its_urgency() -> None:
    assert all(most_urgent([error]) is error for error in (kind.__new__(kind) for kind in KINDS))
