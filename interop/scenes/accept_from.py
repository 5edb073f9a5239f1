"""Who may open sessions: who is named, alone or by his domain, who is subscribed to our presence, or anyone."""

from __future__ import annotations

from interop.props import Heard, say
from interop.servers.setup import Setup
from interop.stage import Stage

SETUP = Setup(friends=False)
NOT_LIMITED = "Debian's ejabberd takes five subscriptions a minute, and other scenes need them"


async def play(stage: Stage) -> None:
    """Carol, a stranger, writes to Dave, who changes his mind again and again; at last they are friends."""
    carol = await stage.encrypted("carol")
    failed = Heard(carol, "e2e_send_failed")
    domain = carol.boundjid.domain
    doors: list[tuple[object, bool]] = [
        ("roster", False),
        (["erin@example.org", "example.org", f"sub.{domain}"], False),
        ([carol.boundjid.bare], True),
        ([domain], True),
        ("anyone", True),
    ]
    for accept_from, open_to_carol in doors:
        dave = await stage.encrypted("dave", accept_from=accept_from)
        heard = Heard(dave, "message")
        say(carol, dave.boundjid, f"Knock, knock! {accept_from}")
        if open_to_carol:
            message = await heard.take()
            assert message["body"] == f"Knock, knock! {accept_from}"
            await message["e2e"]["session"].close()
        else:
            assert (await failed.take()).stanza["body"] == f"Knock, knock! {accept_from}"
        await stage.settle(carol, dave)
        assert (len(heard), len(failed)) == (0, 0)
        await stage.leave(dave)

    dave = await stage.encrypted("dave", accept_from="roster")
    heard, came = Heard(dave, "message"), Heard(carol, "presence_available")
    carol.send_presence_subscription(dave.boundjid.bare)
    while (await came.take())["from"] != dave.boundjid:
        pass
    say(carol, dave.boundjid, "Friend!")
    assert await heard.body() == "Friend!"
    for client, peer in ((carol, dave), (dave, carol)):
        gone = Heard(client, "roster_update")
        client.del_roster_item(peer.boundjid.bare)
        await gone.take()
    assert stage.readable("Knock, knock", "Friend!") == []
