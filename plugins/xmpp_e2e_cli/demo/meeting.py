"""Alice and Bob meet on a server that reads along."""

from __future__ import annotations

import inspect

from slixmpp import Message

import slixmpp_e2e
from xmpp_e2e.types import Assurance
from xmpp_e2e_cli import connection
from xmpp_e2e_cli.demo.participants import Demo
from xmpp_e2e_cli.demo.server_view import BLOCK, decode_blocks, find_word, long_words

OPENING = "Shall we meet beneath the windmill?"
SECOND = "Bring the lantern and the silver compass."
AGAIN = "Tomorrow, same place, another secret."
SHOWN = 130
"""Characters of a block to show."""


def echo(message: Message) -> None:
    if message["type"] in ("chat", "normal"):
        message.reply(f"You said: {message['body']}").send()


async def setting(demo: Demo) -> None:
    """Introduce the server and the two clients."""
    narrator, server, alice, bob = demo.narrator, demo.server, demo.alice, demo.bob
    narrator.explain(
        "Two people chat through an XMPP server. Usually the server can read every word. Here their clients negotiate TLS "
        "with each other, through that server: it carries the messages and cannot read them. Then they verify that they "
        "really talk to each other. At last the server attacks. All of this happens now, on this machine."
    )
    narrator.gap()
    narrator.claim(f"The server: {server.title}.", bool(server.handled()))
    online = [each.client.is_connected() and slixmpp_e2e.of(each.client) is each.e2e for each in (alice, bob)]
    narrator.claim(f"Two slixmpp clients are online: {alice.jid}, {bob.jid}.", online == [True, True])
    loading = [line.strip() for line in inspect.getsource(connection.make_client).splitlines() if "e2e" in line]
    narrator.claim("One line in each program loads the encryption:", len(loading) == 1)
    narrator.quote(loading[0])
    source = inspect.getsource(echo)
    narrator.claim("Bob's program answers every message. It knows nothing of encryption:", "e2e" not in source)
    narrator.quote(source.rstrip())


async def first_message(demo: Demo) -> None:
    """Alice sends a first message, which opens a session, and Bob answers."""
    narrator, alice, bob = demo.narrator, demo.alice, demo.bob
    there, back = await demo.round_trip(OPENING)
    alices, bobs = alice.session, bob.session
    narrator.claim(f"Alice wrote to Bob for the first time: “{OPENING}”", there.body == OPENING)
    narrator.claim("The message waited for a session. Both clients agree on it:", alices.sid == bobs.sid != "")
    narrator.claim_row("protocol", alices.protocol, alices.protocol == bobs.protocol == "TLSv1.3")
    narrator.claim_row("cipher", alices.cipher, alices.cipher == bobs.cipher != "")
    quantum = " (safe against quantum computers, too)" if "MLKEM" in alices.group else ""
    narrator.claim_row("key exchange", alices.group + quantum, alices.group == bobs.group != "")
    narrator.claim_row("Alice's key", f"{alice.e2e.fingerprint}", alice.e2e.fingerprint != bob.e2e.fingerprint)
    narrator.claim_row("  Bob sees", f"{bobs.fingerprint}", bobs.fingerprint == alice.e2e.fingerprint)
    narrator.claim_row("Bob's key", f"{bob.e2e.fingerprint}", alice.e2e.fingerprint != bob.e2e.fingerprint)
    narrator.claim_row("  Alice sees", f"{alices.fingerprint}", alices.fingerprint == bob.e2e.fingerprint)
    levels = {alices.assurance, bobs.assurance, there.assurance, back.assurance}
    narrator.claim_row("assurance", f"{alices.assurance}, for both", levels == {Assurance.VOUCHED})
    same_session = there.session is bobs and back.session is alices
    narrator.claim("Bob's answer came back through the same session.", same_session and back.body == f"You said: {OPENING}")
    narrator.explain("`vouched` means: the server has passed the fingerprints on. It is worth as much as the server's word.")


async def what_the_server_saw(demo: Demo) -> None:
    """Show the same stanza from both sides, and search everything that the server handled."""
    narrator, alice, bob = demo.narrator, demo.alice, demo.bob
    before = len(demo.server.handled())
    there, _ = await demo.round_trip(SECOND)
    handled = demo.server.handled()
    blocks = [stanza for stanza in handled[before:] if stanza.received and stanza.client == alice.jid and decode_blocks(stanza)]
    narrator.claim("Alice writes again. This is what the server got (shortened):", bool(blocks))
    block = blocks[0]
    data = "".join(BLOCK.findall(block.text))
    narrator.quote(block.text.replace(data, narrator.shortened(data, SHOWN)), "yellow")
    decoded = decode_blocks(block)
    narrator.claim(f"Decoded: {len(decoded)} bytes, a TLS record of encrypted data.", decoded[:3] == b"\x17\x03\x03")
    narrator.claim("Bob's program got the same stanza like this:", there.body == SECOND and there.session is bob.session)
    narrator.quote(there.xml)
    narrator.gap()
    words = long_words(OPENING, SECOND)
    leaked = [word for word in words if find_word(word, handled)]
    narrator.claim(
        f"The server has handled {len(handled)} stanzas. As text and decoded, it never saw: {', '.join(words)}.",
        bool(words) and not leaked,
    )
    messages = [stanza for stanza in handled if "<message" in stanza.text]
    narrator.claim("None of them is a <message/>: messages travel inside the session.", not messages)
    with_address = find_word(bob.jid, handled)
    narrator.claim(
        f"The same search finds `{bob.jid}` in {len(with_address)} of them: "
        "a server still sees which addresses exchange messages, when and how much.",
        bool(with_address),
    )


async def the_second_time(demo: Demo) -> None:
    """Open another session, with the same keys."""
    narrator, alice, bob = demo.narrator, demo.alice, demo.bob
    old = [alice.session, bob.session]
    await demo.close_sessions()
    errors = [await narrator.wait_for("the session ends on both sides", link.wait_closed()) for link in old]
    narrator.claim("Both sides close the session properly: nothing was lost at the end.", errors == [None, None])
    there, back = await demo.round_trip(AGAIN)
    new = alice.session
    narrator.claim("Alice writes once more. A new session opens for it.", new.sid != old[0].sid and there.body == AGAIN)
    same = new.fingerprint == old[0].fingerprint == bob.e2e.fingerprint
    narrator.claim("Each shows the same key as before.", same and bob.session.fingerprint == alice.e2e.fingerprint)
    levels = {new.assurance, bob.session.assurance, there.assurance, back.assurance}
    narrator.claim_row("assurance", f"{new.assurance}, for both", levels == {Assurance.KNOWN})
    narrator.explain("`known` means: if somebody is in the middle now, they have been there since the two met.")
