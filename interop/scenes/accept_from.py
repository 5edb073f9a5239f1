"""The setting `accept_from` decides who may open sessions: named accounts or domains, contacts, or anyone."""

from __future__ import annotations

from interop.harness import Harness
from interop.helpers import Events, say
from interop.servers.setup import Setup

SETUP = Setup(friends=False)
NOT_LIMITED = "Debian's ejabberd takes five subscriptions a minute, and other scenes need them"


async def run(harness: Harness) -> None:
    """Carol, a stranger, writes to Dave under each value of the setting; at last they become contacts."""
    carol = await harness.e2e_client("carol")
    failed = Events(carol, "e2e_send_failed")
    domain = carol.boundjid.domain
    doors: list[tuple[object, bool]] = [
        ("roster", False),
        (["erin@example.org", "example.org", f"sub.{domain}"], False),
        ([carol.boundjid.bare], True),
        ([domain], True),
        ("anyone", True),
    ]
    for accept_from, open_to_carol in doors:
        dave = await harness.e2e_client("dave", accept_from=accept_from)
        heard = Events(dave, "message")
        say(carol, dave.boundjid, f"Knock, knock! {accept_from}")
        if open_to_carol:
            message = await heard.take()
            assert message["body"] == f"Knock, knock! {accept_from}"
            await message["e2e"]["session"].close()
        else:
            assert (await failed.take()).stanza["body"] == f"Knock, knock! {accept_from}"
        await harness.settle(carol, dave)
        assert (len(heard), len(failed)) == (0, 0)
        await harness.log_out(dave)

    dave = await harness.e2e_client("dave", accept_from="roster")
    heard, came = Events(dave, "message"), Events(carol, "presence_available")
    carol.send_presence_subscription(dave.boundjid.bare)
    while (await came.take())["from"] != dave.boundjid:
        pass
    say(carol, dave.boundjid, "Friend!")
    assert await heard.body() == "Friend!"
    for client, peer in ((carol, dave), (dave, carol)):
        gone = Events(client, "roster_update")
        client.del_roster_item(peer.boundjid.bare)
        await gone.take()
    assert harness.find_text("Knock, knock", "Friend!") == []
