"""What the server says it has seen."""

from __future__ import annotations

import asyncio
import base64

import pytest

from xmpp_loopback import record
from xmpp_loopback.record import Handled, Record, Way


def test_a_word_is_found_as_it_is_escaped_and_in_base64() -> None:
    """`mentions` sees through the disguises that need no key, at any alignment of base64."""
    seen = Record()
    secret = "meet & greet at nine"
    seen.add(Way.RECEIVED, "a@e/x", "<message><body>meet &amp; greet at nine</body></message>")
    for offset in range(3):
        data = base64.b64encode(b"x" * offset + secret.encode() + b"y").decode()
        seen.add(Way.SENT, "a@e/x", f"<iq><data>{data}</data></iq>")
    seen.add(Way.SENT, "a@e/x", "<iq><data>bWVldA==</data></iq>")
    assert seen.mentions(secret) == seen.seen[:4]


def test_a_short_word_is_not_found_by_chance() -> None:
    """Three letters occur in any ciphertext; where people write they are found all the same, and long words everywhere."""
    seen = Record()
    seen.add(Way.SENT, "a@e/x", "<iq><data>9NN5Kdo0yvHtqS0lLRyCbPAtwoLtJdWB4hRwAdACB4ipNnig</data></iq>")
    seen.add(Way.SENT, "a@e/x", "<message><body>two of them</body></message>")
    assert seen.mentions("two") == seen.seen[1:]
    assert seen.mentions("CbPAtwoLtJ") == seen.seen[:1]


def test_the_element_is_the_text() -> None:
    """`Handled.element` is parsed from what was on the wire."""
    handled = Handled(Way.RECEIVED, "a@e/x", "<message to='b'/>")
    assert handled.element.tag == "{jabber:client}message"
    assert handled.element.get("to") == "b"


def test_taps_hear_everything_as_it_happens() -> None:
    """Each tap is called once per stanza."""
    seen = Record()
    heard: list[Handled] = []
    seen.taps.append(heard.append)
    seen.add(Way.RECEIVED, "a@e/x", "<presence/>")
    assert heard == seen.seen == [Handled(Way.RECEIVED, "a@e/x", "<presence/>")]


async def test_waiting_finds_the_past_and_the_future() -> None:
    """`saw` returns the first that matches, whether it came already or comes later."""
    seen = Record()
    seen.add(Way.SENT, "a@e/x", "<one/>")
    assert (await seen.saw(lambda handled: "one" in handled.text)).text == "<one/>"
    later = asyncio.ensure_future(seen.saw(lambda handled: "two" in handled.text))
    await asyncio.sleep(0)
    assert not later.done()
    seen.add(Way.SENT, "a@e/x", "<three/>")
    seen.add(Way.SENT, "a@e/x", "<two/>")
    assert (await later).text == "<two/>"


def test_a_record_with_gaps_gives_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the limit made it forget something, or it was off, "nothing found" would be a lie."""
    monkeypatch.setattr(record, "RECORD_LIMIT", 100)
    full = Record()
    for number in range(30):
        full.add(Way.SENT, "a@e/x", f"<a{number:07}/>")
    assert len("".join(handled.text for handled in full.seen)) <= 100
    assert full.seen[-1].text == "<a0000029/>"
    with pytest.raises(RuntimeError, match="gaps"):
        full.mentions("word")
    off = Record()
    off.enabled = False
    off.add(Way.SENT, "a@e/x", "<a/>")
    assert off.seen == []
    with pytest.raises(RuntimeError, match="gaps"):
        off.mentions("word")
