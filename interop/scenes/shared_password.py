"""Under `server-untrusted`, nothing is sent before both have stored the password; then everything is `verified`."""

from __future__ import annotations

from interop.harness import Harness
from interop.helpers import Events, derive_password, say, session, share, verified_keys
from xmpp_e2e.errors import AuthenticationFailed


async def run(harness: Harness) -> None:
    """Bob is the first to store it. Alice, who has not, cannot write to Bob."""
    alice, bob = [await harness.e2e_client(name, trust_model="server-untrusted") for name in ("alice", "bob")]
    password = derive_password(alice, bob, "four words by chance")
    share(bob, alice, srp=password)
    heard, answers, failed = Events(bob, "message"), Events(alice, "message"), Events(alice, "e2e_send_failed")
    say(alice, bob.boundjid, "Impatient words.")
    told = await failed.take()
    assert isinstance(told.error, AuthenticationFailed)
    await harness.settle(alice, bob)

    share(alice, bob, srp=password)
    say(alice, bob.boundjid, "Secret words.")
    message = await heard.take()
    assert (message["body"], str(message["e2e"]["assurance"])) == ("Secret words.", "verified")
    message.reply("No longer words of a stranger.").send()
    assert str((await answers.take())["e2e"]["assurance"]) == "verified"
    assert verified_keys(alice, bob) == verified_keys(bob, alice) == [("verified", "srp")]

    ended = Events(alice, "e2e_session_closed")
    await message["e2e"]["session"].close()
    await ended.take()
    ours, theirs = await session(bob, alice)
    assert (str(ours.assurance), str(theirs.assurance)) == ("verified", "verified")
    assert harness.find_text("Impatient words", "Secret words", "words of a stranger") == []
