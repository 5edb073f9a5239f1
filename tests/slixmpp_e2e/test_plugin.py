"""The plugin as users see it."""

from __future__ import annotations

from tests.slixmpp_e2e.world import BOB, Heard, World, echo


async def test_an_unmodified_bot_answers_through_the_session(world: World) -> None:
    """Neither body, element name nor id of what is said can be read by the server."""
    alice, bob = await world.pair()
    echo(bob)
    heard = Heard(alice, "message")
    message = alice.make_message(mto=BOB, mbody="attack at dawn", mtype="chat")
    message["id"] = "inner-stanza-id"
    message.send()
    reply = await heard.take()
    assert reply["body"] == "echo: attack at dawn"
    assert str(reply["e2e"]["assurance"]) == "vouched"
    assert world.in_clear("attack at dawn", "<body", "inner-stanza-id", "<message") == []
