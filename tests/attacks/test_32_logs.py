"""Attack 32: whoever reads the logs of a program looks for what its sessions carry.

All loggers are at DEBUG, as a program sets them that looks for an error of its own. Control: with the filter off, the words
are there.
"""

from __future__ import annotations

import asyncio
import logging
from xml.etree.ElementTree import SubElement

import pytest
from slixmpp.exceptions import IqError, IqTimeout, XMPPError
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import MatchXPath

from slixmpp_e2e import HideContent
from slixmpp_e2e.xmpp import log_filter
from tests.slixmpp_e2e.env import ALICE, BOB, QUERY, Env, Events, ask, e2e, token_of, until
from xmpp_loopback import online

WORDS = "the eagle lands at noon"
"""In everything that is sent inside."""


@pytest.fixture(autouse=True)
def at_debug(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in log_filter._LOGGERS:  # without the filters of clients that other tests have left
        monkeypatch.setattr(logging.getLogger(name), "filters", [])
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, "asyncio")


async def converse(env: Env, **config: object) -> list[str]:
    """Say the words in every way that slixmpp may log: before the stream is up, in a session, in errors; return the tokens."""
    bob = await env.client(BOB, **config)
    alice = env.make(ALICE, **config)
    heard = Events(bob, "message")
    alice._always_send_everything = False
    alice.send_message(mto=BOB, mbody=WORDS)  # NOT SENT
    await online(alice, env.server)
    session = (await heard.take())["e2e"]["session"]
    tokens = [token_of(bob, session)]
    await env.settle(alice, bob)
    alice.send_message(mto=BOB, mbody=WORDS)
    await heard.take()

    def refuse(iq: object) -> None:
        raise XMPPError("not-allowed", WORDS)

    bob.register_handler(Callback("refuse", MatchXPath(f"{{jabber:client}}iq/{QUERY}"), refuse))
    with pytest.raises(IqError) as caught:
        await until(ask(alice, BOB))
    alice.exception(caught.value)  # as slixmpp does with what a handler lets through
    iq = alice.make_iq_get(ito=BOB)
    SubElement(iq.xml, QUERY).text = WORDS
    alice.exception(IqTimeout(iq))
    for uncaught in (IqError(caught.value.iq), IqTimeout(iq)):
        try:
            raise RuntimeError("a handler failed") from uncaught
        except RuntimeError as error:
            alice.exception(error)
    asyncio.get_running_loop().call_exception_handler({"message": "a task failed", "exception": caught.value})
    return tokens


async def test_no_log_shows_what_sessions_carry(env: Env, caplog: pytest.LogCaptureFixture) -> None:
    tokens = await converse(env)
    assert "RECV: <message from='alice@localhost/a' to='bob@localhost/b'> (content hidden)" in caplog.text
    for line in caplog.text.splitlines():
        assert WORDS not in line
        assert not any(token in line for token in tokens)
    for kind in ("NOT SENT", "Request timed out", "not-allowed: (content hidden)", "a handler failed"):
        assert kind in caplog.text


async def test_control_without_the_filter_they_are_there(env: Env, caplog: pytest.LogCaptureFixture) -> None:
    tokens = await converse(env, hide_in_logs=False)
    said = [line for line in caplog.text.splitlines() if WORDS in line]
    for kind in ("RECV: ", "NOT SENT: ", "Request timed out: ", "not-allowed: ", "IqError: "):
        assert any(kind in line for line in said)
    assert any(token in caplog.text for token in tokens)


async def test_what_comes_in_plaintext_is_shown(env: Env, caplog: pytest.LogCaptureFixture) -> None:
    """A filter that hid everything would hide why nothing is encrypted."""
    alice = await env.client(ALICE, policy="off")
    bob = await env.client(BOB, load=False)
    heard = Events(alice, "message")
    bob.send_message(mto=ALICE, mbody=WORDS)
    await heard.take()
    assert any("RECV: " in line and WORDS in line for line in caplog.text.splitlines())


async def test_the_filter_goes_with_its_plugin(env: Env) -> None:
    def filters() -> list[object]:
        return [each for each in logging.getLogger("slixmpp.xmlstream.xmlstream").filters if isinstance(each, HideContent)]

    before = len(filters())
    alice, bob = await env.pair()
    assert len(filters()) == before + 2
    env.unload(alice)
    assert len(filters()) == before + 1
    env.unload(bob)
    assert len(filters()) == before
    assert "e2e" not in alice.plugin


async def test_a_handler_of_the_programs_own(caplog: pytest.LogCaptureFixture, env: Env) -> None:
    """The same filter hides what a program logs of its stanzas."""
    alice, bob = await env.pair()
    await env.session(alice, bob)
    caplog.handler.addFilter(hide := HideContent())
    try:
        logging.getLogger("bot").warning("%s %s", "sent", [alice.make_message(BOB, WORDS)])
        logging.getLogger("bot").warning("%(got)s", {"got": alice.make_message(BOB, WORDS)})
        two_lines = alice.make_message(BOB, f"{WORDS}\n{WORDS}")
        group = ExceptionGroup("both", [IqTimeout(alice.make_iq_get(ito=BOB)), ValueError(two_lines)])
        logging.getLogger("bot").error("no", exc_info=group)
    finally:
        caplog.handler.removeFilter(hide)
    assert WORDS not in caplog.text
    assert caplog.text.count("content hidden") == 4
    assert e2e(alice).sessions()
