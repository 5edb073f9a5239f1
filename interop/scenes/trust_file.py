"""A bot that trusts no server takes orders only from those in its trust file, and reads the file again when it changes."""

from __future__ import annotations

import os

from interop.harness import Harness
from interop.helpers import Events, derive_password, e2e, echo, say, share
from slixmpp_e2e.trust.trust_file.secret_file import encode_psk
from xmpp_e2e.errors import AuthenticationFailed

KEY, PASSWORD = bytes(range(32)), "white, no sugar"


def write(harness: Harness, name: str, text: str) -> None:
    """Replace the file at once, readable by its owner only: the bot must not read half a file."""
    path = harness.folder / "new"
    path.touch(mode=0o600)
    path.write_text(text)
    os.replace(path, harness.folder / name)


async def run(harness: Harness) -> None:
    """Alice is in it with a key; Carol with a password, and Dave with a fingerprint, are added while the bot runs."""
    write(harness, "alice.psk", encode_psk(KEY))
    write(harness, "carol.password", PASSWORD)
    file = f'["{harness.jid("alice")}"]\npsk_file = "alice.psk"\n'
    write(harness, "trust.toml", file)
    trust_file = harness.folder / "trust.toml"
    bot = await harness.e2e_client("bob", prepare=echo, trust_model="server-untrusted", trust_file=trust_file)
    alice, carol, dave = people = [await harness.e2e_client(name) for name in ("alice", "carol", "dave")]
    share(alice, bot, psk=KEY)
    share(carol, bot, srp=derive_password(carol, bot, PASSWORD))
    orders = Events(bot, "message")
    answers = {client: Events(client, "message") for client in people}
    refused = Events(carol, "e2e_send_failed")

    for client in people:
        say(client, bot.boundjid, "Make coffee!")
    answer = await answers[alice].take()
    assert (answer["body"], str(answer["e2e"]["assurance"])) == ("You said: Make coffee!", "verified")
    assert isinstance((await refused.take()).error, AuthenticationFailed)
    await harness.settle(bot, *people)
    assert [order["from"] for order in orders.all()] == [alice.boundjid]
    assert not any(map(len, answers.values()))

    file += f'["{harness.jid("carol")}"]\npassword_file = "carol.password"\n'
    file += f'["{harness.jid("dave")}"]\npin = "{e2e(dave).fingerprint}"\n'
    write(harness, "trust.toml", file)
    assert await answers[dave].body() == "You said: Make coffee!"
    say(carol, bot.boundjid, "Tea, please!")
    assert await answers[carol].body() == "You said: Tea, please!"
    given = [(order["from"], str(order["e2e"]["assurance"])) for order in orders.all()]
    assert given == [(dave.boundjid, "verified"), (carol.boundjid, "verified")]
    assert harness.find_text("Make coffee", "Tea, please") == []
