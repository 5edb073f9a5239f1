"""Two honest channels back to back: how they end, and what is left of one that has failed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from OpenSSL import SSL

from tests.xmpp_e2e.tls.honest import ALICE, channels, connected
from xmpp_e2e.errors import LocalError, TLSFailed
from xmpp_e2e.tls.connection import TLSConnection, _tls_failure


def test_clean_end() -> None:
    initiator, responder = connected()
    initiator.send(b"last words")
    initiator.close()
    assert responder.receive(initiator.data_to_send()) == b"last words"
    assert responder.peer_closed
    assert responder.receive(b"") == b""
    assert not responder.truncated


def test_end_without_close_notify_is_truncation() -> None:
    """A transport that just ends is told apart from a peer that has said goodbye."""
    initiator, responder = connected()
    initiator.send(b"words")
    assert responder.receive(initiator.data_to_send()) == b"words"
    assert not responder.truncated
    assert responder.receive(b"") == b""
    assert responder.truncated
    assert not responder.peer_closed


def test_end_within_a_record_is_truncation() -> None:
    """Of a record that did not arrive whole nothing comes out."""
    initiator, responder = connected()
    initiator.send(b"words")
    assert responder.receive(initiator.data_to_send()[:-1]) == b""
    assert responder.receive(b"") == b""
    assert responder.truncated


def test_end_within_the_handshake_is_truncation() -> None:
    initiator, responder = channels()
    responder.receive(initiator.data_to_send())
    responder.receive(b"")
    assert responder.truncated


def test_the_peer_may_still_speak_after_our_goodbye() -> None:
    """TLS 1.3 closes each direction by itself: what the peer sends before its own close_notify arrives."""
    initiator, responder = connected()
    initiator.close()
    responder.receive(initiator.data_to_send())
    responder.send(b"and goodbye to you")
    responder.close()
    assert initiator.receive(responder.data_to_send()) == b"and goodbye to you"
    assert initiator.peer_closed


def test_nothing_is_sent_after_goodbye() -> None:
    initiator, _ = connected()
    initiator.close()
    assert initiator.data_to_send()
    with pytest.raises(LocalError, match="is closed"):
        initiator.send(b"one more thing")
    initiator.close()
    assert initiator.data_to_send() == b""


def test_goodbye_before_hello_says_nothing() -> None:
    """A channel that is closed before its handshake is done sends no alert, and the handshake can go on."""
    initiator, responder = channels()
    responder.close()
    assert responder.data_to_send() == b""
    responder.receive(initiator.data_to_send())
    assert responder.data_to_send()


def test_bytes_after_close_notify_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """What follows the peer's close_notify was not sent by it (RFC 8446 §6.1): it does no harm and is not kept."""
    initiator, responder = connected()
    initiator.send(b"words")
    initiator.close()
    assert responder.receive(initiator.data_to_send() + bytes(100_000)) == b"words"
    with monkeypatch.context() as patch:
        patch.delattr(SSL.Connection, "bio_write")
        assert responder.receive(b"\xff" * 100) == b""
    responder.send(b"still here")


def test_bytes_after_the_end_of_the_transport_are_a_mistake_of_the_host() -> None:
    """An ended transport brings nothing more; ending twice is harmless."""
    initiator, responder = connected()
    responder.receive(b"")
    responder.receive(b"")
    initiator.send(b"words")
    with pytest.raises(LocalError, match="after the end"):
        responder.receive(initiator.data_to_send())


# --- failures ----------------------------------------------------------------------------------------------------------


def test_failed_record_kills_the_channel() -> None:
    """After a failure the alert is still there to send, and everything else raises the failure again."""
    initiator, responder = connected()
    initiator.send(b"words")
    data = bytearray(initiator.data_to_send())
    data[-1] ^= 1
    with pytest.raises(TLSFailed, match="bad record mac") as first:
        responder.receive(bytes(data))
    for act in (
        responder.start,
        lambda: responder.expect_certificate(ALICE.certificate_digest),
        lambda: responder.receive(b"more"),
        lambda: responder.receive(b""),
        lambda: responder.send(b"more"),
        responder.close,
    ):
        with pytest.raises(TLSFailed, match="bad record mac") as again:
            act()
        assert type(again.value) is type(first.value)
    alert = responder.data_to_send()
    with pytest.raises(TLSFailed, match="alert bad record mac"):
        initiator.receive(alert)


@pytest.mark.parametrize(("method", "act"), [("send", lambda channel: channel.send(b"x")), ("shutdown", TLSConnection.close)])
def test_openssl_that_cannot_write_kills_the_channel(
    method: str, act: Callable[[TLSConnection], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenSSL refuses to write while it waits for the rest of a peer's KeyUpdate; this raises the documented error."""
    initiator, _ = connected()

    def refuse(*_: object) -> None:
        raise SSL.WantReadError

    monkeypatch.setattr(SSL.Connection, method, refuse)
    with pytest.raises(TLSFailed, match="gave no reason"):
        act(initiator)
    with pytest.raises(TLSFailed):
        initiator.receive(b"more")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (SSL.SysCallError(-1, "Unexpected EOF"), "the record layer gave no reason"),
        (SSL.Error([("", "", "")]), "the record layer gave no reason"),
        (SSL.Error([]), "the record layer gave no reason"),
        (SSL.Error([("", "", ""), ("", "", "bad record"), ("", "", "bad record")]), "bad record"),
    ],
)
def test_each_reason_of_openssl_is_told_once(error: SSL.Error, reason: str) -> None:
    assert str(_tls_failure(error)) == f"TLS failed: {reason}"
