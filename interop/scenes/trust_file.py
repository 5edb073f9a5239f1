"""A bot that trusts no server takes orders from those alone whom its trust file names, and reads it again when it changes."""

from __future__ import annotations

import os

from interop.props import Heard, agreed, e2e, echo, say, share
from interop.stage import Stage
from slixmpp_e2e.trust.trust_file.secret_file import psk_text
from xmpp_e2e.errors import AuthenticationFailed

KEY, PASSWORD = bytes(range(32)), "white, no sugar"


def write(stage: Stage, name: str, text: str) -> None:
    """All at once, and for its owner alone: half of a file would be a bad one."""
    path = stage.folder / "new"
    path.touch(mode=0o600)
    path.write_text(text)
    os.replace(path, stage.folder / name)


async def play(stage: Stage) -> None:
    """Alice is in it with her key; Carol with a password, and Dave with a fingerprint, are added while the bot runs."""
    write(stage, "alice.psk", psk_text(KEY))
    write(stage, "carol.password", PASSWORD)
    file = f'["{stage.jid("alice")}"]\npsk_file = "alice.psk"\n'
    write(stage, "trust.toml", file)
    trust_file = stage.folder / "trust.toml"
    bot = await stage.encrypted("bob", prepare=echo, trust_model="server-untrusted", trust_file=trust_file)
    alice, carol, dave = people = [await stage.encrypted(name) for name in ("alice", "carol", "dave")]
    share(alice, bot, psk=KEY)
    share(carol, bot, srp=agreed(carol, bot, PASSWORD))
    orders = Heard(bot, "message")
    answers = {client: Heard(client, "message") for client in people}
    refused = Heard(carol, "e2e_send_failed")

    for client in people:
        say(client, bot.boundjid, "Make coffee!")
    answer = await answers[alice].take()
    assert (answer["body"], str(answer["e2e"]["assurance"])) == ("You said: Make coffee!", "verified")
    assert isinstance((await refused.take()).error, AuthenticationFailed)
    await stage.settle(bot, *people)
    assert [order["from"] for order in orders.all()] == [alice.boundjid]
    assert not any(map(len, answers.values()))

    file += f'["{stage.jid("carol")}"]\npassword_file = "carol.password"\n'
    file += f'["{stage.jid("dave")}"]\npin = "{e2e(dave).fingerprint}"\n'
    write(stage, "trust.toml", file)
    assert await answers[dave].body() == "You said: Make coffee!"
    say(carol, bot.boundjid, "Tea, please!")
    assert await answers[carol].body() == "You said: Tea, please!"
    given = [(order["from"], str(order["e2e"]["assurance"])) for order in orders.all()]
    assert given == [(dave.boundjid, "verified"), (carol.boundjid, "verified")]
    assert stage.readable("Make coffee", "Tea, please") == []
