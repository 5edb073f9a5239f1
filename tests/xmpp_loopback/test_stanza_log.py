"""The log of handled stanzas."""

from __future__ import annotations

import asyncio
import base64

import pytest

from xmpp_loopback import stanza_log
from xmpp_loopback.stanza_log import Direction, HandledStanza, StanzaLog


def test_a_word_is_found_as_it_is_escaped_and_in_base64() -> None:
    seen = StanzaLog()
    secret = "meet & greet at nine"
    seen.add(Direction.RECEIVED, "a@e/x", "<message><body>meet &amp; greet at nine</body></message>")
    for offset in range(3):
        data = base64.b64encode(b"x" * offset + secret.encode() + b"y").decode()
        seen.add(Direction.SENT, "a@e/x", f"<iq><data>{data}</data></iq>")
    seen.add(Direction.SENT, "a@e/x", "<iq><data>bWVldA==</data></iq>")
    assert seen.find_text(secret) == seen.stanzas[:4]


def test_a_short_word_is_not_found_by_chance() -> None:
    """Three letters occur in any ciphertext. In text they are found, and long words everywhere."""
    seen = StanzaLog()
    seen.add(Direction.SENT, "a@e/x", "<iq><data>9NN5Kdo0yvHtqS0lLRyCbPAtwoLtJdWB4hRwAdACB4ipNnig</data></iq>")
    seen.add(Direction.SENT, "a@e/x", "<message><body>two of them</body></message>")
    assert seen.find_text("two") == seen.stanzas[1:]
    assert seen.find_text("CbPAtwoLtJ") == seen.stanzas[:1]


def test_the_element_is_the_text() -> None:
    handled = HandledStanza(Direction.RECEIVED, "a@e/x", "<message to='b'/>")
    assert handled.element.tag == "{jabber:client}message"
    assert handled.element.get("to") == "b"


def test_taps_hear_everything_as_it_happens() -> None:
    seen = StanzaLog()
    heard: list[HandledStanza] = []
    seen.observers.append(heard.append)
    seen.add(Direction.RECEIVED, "a@e/x", "<presence/>")
    assert heard == seen.stanzas == [HandledStanza(Direction.RECEIVED, "a@e/x", "<presence/>")]


async def test_waiting_finds_the_past_and_the_future() -> None:
    seen = StanzaLog()
    seen.add(Direction.SENT, "a@e/x", "<one/>")
    assert (await seen.wait_for(lambda handled: "one" in handled.text)).text == "<one/>"
    later = asyncio.ensure_future(seen.wait_for(lambda handled: "two" in handled.text))
    await asyncio.sleep(0)
    assert not later.done()
    seen.add(Direction.SENT, "a@e/x", "<three/>")
    seen.add(Direction.SENT, "a@e/x", "<two/>")
    assert (await later).text == "<two/>"


def test_a_record_with_gaps_gives_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    """A verdict of nothing found would be wrong for an incomplete log."""
    monkeypatch.setattr(stanza_log, "LOG_LIMIT", 100)
    full = StanzaLog()
    for number in range(30):
        full.add(Direction.SENT, "a@e/x", f"<a{number:07}/>")
    assert len("".join(handled.text for handled in full.stanzas)) <= 100
    assert full.stanzas[-1].text == "<a0000029/>"
    with pytest.raises(RuntimeError, match="gaps"):
        full.find_text("word")
    off = StanzaLog()
    off.enabled = False
    off.add(Direction.SENT, "a@e/x", "<a/>")
    assert off.stanzas == []
    with pytest.raises(RuntimeError, match="gaps"):
        off.find_text("word")
