"""Two who trust no server and have a password: nothing flows before it is set up on both sides, then all as `verified`."""

from __future__ import annotations

from interop.props import Heard, agreed, proved, say, session, share
from interop.stage import Stage
from xmpp_e2e.errors import AuthenticationFailed


async def play(stage: Stage) -> None:
    """Bob is the first to set it up; Alice, who has not, cannot write to him."""
    alice, bob = [await stage.encrypted(name, trust_model="server-untrusted") for name in ("alice", "bob")]
    password = agreed(alice, bob, "four words by chance")
    share(bob, alice, srp=password)
    heard, answers, failed = Heard(bob, "message"), Heard(alice, "message"), Heard(alice, "e2e_send_failed")
    say(alice, bob.boundjid, "Impatient words.")
    told = await failed.take()
    assert isinstance(told.error, AuthenticationFailed)
    await stage.settle(alice, bob)

    share(alice, bob, srp=password)
    say(alice, bob.boundjid, "Secret words.")
    message = await heard.take()
    assert (message["body"], str(message["e2e"]["assurance"])) == ("Secret words.", "verified")
    message.reply("No longer words of a stranger.").send()
    assert str((await answers.take())["e2e"]["assurance"]) == "verified"
    assert proved(alice, bob) == proved(bob, alice) == [("verified", "srp")]

    ended = Heard(alice, "e2e_session_end")
    await message["e2e"]["session"].close()
    await ended.take()
    ours, theirs = await session(bob, alice)
    assert (str(ours.assurance), str(theirs.assurance)) == ("verified", "verified")
    assert stage.readable("Impatient words", "Secret words", "words of a stranger") == []
