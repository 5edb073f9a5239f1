"""Alice and Bob meet on a server that reads along: what they get, and what it gets."""

from __future__ import annotations

import inspect

from slixmpp import Message

from xmpp_e2e.identity import Assurance
from xmpp_e2e_cli import connection
from xmpp_e2e_cli.demo.people import Play
from xmpp_e2e_cli.demo.record import BLOCK, blocks, readable, words

OPENING = "Shall we meet beneath the windmill?"
SECOND = "Bring the lantern and the silver compass."
AGAIN = "Tomorrow, same place, another secret."
SHOWN = 130
"""Characters of a block that are shown."""


def echo(message: Message) -> None:
    if message["type"] in ("chat", "normal"):
        message.reply(f"You said: {message['body']}").send()


async def stage(play: Play) -> None:
    """Who is there."""
    story, theatre, alice, bob = play.story, play.theatre, play.alice, play.bob
    story.say(
        "Two people chat through an XMPP server that they have to trust with every word. Now their clients negotiate TLS "
        "with each other, through that server: it carries what they write, and cannot read it. Then they find out whether "
        "it is really the other one; and then the server gets in between. All of this happens now, on this machine."
    )
    story.gap()
    story.fact(f"The server: {theatre.title}.", bool(theatre.handled()))
    online = [actor.client.is_connected() and connection.plugin_of(actor.client) is actor.e2e for actor in (alice, bob)]
    story.fact(f"Two slixmpp clients are online: {alice.jid}, {bob.jid}.", online == [True, True])
    loading = [line.strip() for line in inspect.getsource(connection.make_client).splitlines() if "e2e" in line]
    story.fact("One line in the program of each loads the encryption:", len(loading) == 1)
    story.quote(loading[0])
    source = inspect.getsource(echo)
    story.fact("Bob's program answers every message. It knows nothing of encryption:", "e2e" not in source)
    story.quote(source.rstrip())


async def first_message(play: Play) -> None:
    """A first message, the session that it opened, and the answer."""
    story, alice, bob = play.story, play.alice, play.bob
    there, back = await play.round_trip(OPENING)
    hers, his = alice.session, bob.session
    story.fact(f"Alice wrote to Bob for the first time: “{OPENING}”", there.body == OPENING)
    story.fact("It waited until a session was open. Both clients agree on that:", hers.sid == his.sid != "")
    story.row("protocol", hers.protocol, hers.protocol == his.protocol == "TLSv1.3")
    story.row("cipher", hers.cipher, hers.cipher == his.cipher != "")
    quantum = " (safe against quantum computers too)" if "MLKEM" in hers.group else ""
    story.row("key exchange", hers.group + quantum, hers.group == his.group != "")
    story.row("Alice's key", f"{alice.e2e.fingerprint}", alice.e2e.fingerprint != bob.e2e.fingerprint)
    story.row("  Bob sees", f"{his.fingerprint}", his.fingerprint == alice.e2e.fingerprint)
    story.row("Bob's key", f"{bob.e2e.fingerprint}", alice.e2e.fingerprint != bob.e2e.fingerprint)
    story.row("  Alice sees", f"{hers.fingerprint}", hers.fingerprint == bob.e2e.fingerprint)
    levels = {hers.assurance, his.assurance, there.assurance, back.assurance}
    story.row("assurance", f"{hers.assurance}, for both", levels == {Assurance.VOUCHED})
    through = there.session is his and back.session is hers
    story.fact("Bob's answer came back through the same session.", through and back.body == f"You said: {OPENING}")
    story.say("`vouched` is worth as much as the server's word, which has passed the fingerprints on.")


async def what_the_server_saw(play: Play) -> None:
    """One stanza, from both sides."""
    story, alice, bob = play.story, play.alice, play.bob
    before = len(play.theatre.handled())
    there, _ = await play.round_trip(SECOND)
    record = play.theatre.handled()
    sent = [seen for seen in record[before:] if seen.came and seen.client == alice.jid and blocks(seen)]
    story.fact("Alice writes again. This is what the server got from her (shortened):", bool(sent))
    block = sent[0]
    data = "".join(BLOCK.findall(block.text))
    story.quote(block.text.replace(data, story.shortened(data, SHOWN)), "yellow")
    application_data = blocks(block)[:3] == b"\x17\x03\x03"
    story.fact(f"Decoded: {len(blocks(block))} bytes, a TLS record of encrypted data.", application_data)
    story.fact("This is the same stanza, as Bob's program got it:", there.body == SECOND and there.session is bob.session)
    story.quote(there.xml)
    story.gap()
    wanted = words(OPENING, SECOND)
    leaked = [word for word in wanted if readable(word, record)]
    story.fact(
        f"In all {len(record)} stanzas that the server has handled, as text and decoded, it never saw: {', '.join(wanted)}.",
        bool(wanted) and not leaked,
    )
    story.fact("None of them is a <message/>: those travel inside.", not [seen for seen in record if "<message" in seen.text])
    known = readable(bob.jid, record)
    story.fact(
        f"The same search finds `{bob.jid}` in {len(known)} of them: "
        "who talks to whom, when and how much, a server still sees.",
        bool(known),
    )


async def the_second_time(play: Play) -> None:
    """Another session finds the same keys."""
    story, alice, bob = play.story, play.alice, play.bob
    old, older = alice.session, bob.session
    await play.part()
    ends = [await story.until("the session ends on both sides", link.ended()) for link in (old, older)]
    story.fact("The session ends by farewells on both sides: nothing was lost at the end.", ends == [None, None])
    there, back = await play.round_trip(AGAIN)
    new = alice.session
    story.fact("Alice writes once more, and a new one is opened for it.", new.sid != old.sid and there.body == AGAIN)
    same = new.fingerprint == old.fingerprint == bob.e2e.fingerprint
    story.fact("Each shows the same key as before.", same and bob.session.fingerprint == alice.e2e.fingerprint)
    levels = {new.assurance, bob.session.assurance, there.assurance, back.assurance}
    story.row("assurance", f"{new.assurance}, for both", levels == {Assurance.KNOWN})
    story.say("`known`: whoever is in the middle now, if anybody is, has been there since they met.")
