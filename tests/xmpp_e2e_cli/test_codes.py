"""Every error that a user can meet has an exit code that was meant."""

from __future__ import annotations

import pytest

import slixmpp_e2e.errors
import slixmpp_e2e.store.errors
import xmpp_e2e.errors
from xmpp_e2e.errors import E2EError, PeerRefused, TransportMisused, UntrustedKey
from xmpp_e2e_cli import codes
from xmpp_e2e_cli.codes import Exit, code_of, worst

KINDS = [
    kind
    for module in (xmpp_e2e.errors, slixmpp_e2e.errors, slixmpp_e2e.store.errors, codes)
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, E2EError) and kind not in (E2EError, codes.Untold)
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_no_error_of_the_library_counts_as_a_bug(kind: type[E2EError]) -> None:
    """A new class in an old family has the family's code; a new family must be given one."""
    assert code_of(kind.__new__(kind)) is not Exit.BUG


def test_a_class_goes_before_its_family() -> None:
    """UntrustedKey is an AuthenticationFailed, and has a code of its own."""
    assert code_of(UntrustedKey("")) is Exit.UNTRUSTED
    assert code_of(TransportMisused("")) is Exit.NETWORK
    assert code_of(E2EError("")) is Exit.BUG


def test_of_several_errors_the_untrusted_key_is_told() -> None:
    """An absent device must not hide that another shows a changed key."""
    untrusted = UntrustedKey("")
    absent = slixmpp_e2e.errors.PeerOffline("")
    assert worst([absent, PeerRefused(""), untrusted]) is untrusted


def test_every_code_has_its_urgency() -> None:
    """So that `worst` cannot stumble."""
    assert all(worst([error]) is error for error in (kind.__new__(kind) for kind in KINDS))
