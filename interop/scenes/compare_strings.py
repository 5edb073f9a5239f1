"""Two users compare a short string as numbers, emoji or words: their open session becomes `verified` on both sides."""

from __future__ import annotations

from interop.harness import Harness
from interop.helpers import Events, SasUser, say, session, verified_keys


async def run(harness: Harness) -> None:
    """Bob's client shows the string when Alice's asks. They repeat it with other strings, whoever has opened the
    session."""
    alices, bobs = SasUser(), SasUser()
    alice, bob = await harness.e2e_client("alice"), await harness.e2e_client("bob", ask_sas=bobs.compare)
    heard, strange = Events(alice, "message"), [Events(client, "e2e_key_changed") for client in (alice, bob)]
    for form, first, second in (("decimal", alice, bob), ("emoji", bob, alice), ("words", alice, bob)):
        ends = dict(zip((first, second), await session(first, second), strict=True))
        ours, theirs = ends[alice], ends[bob]
        before = (ours.sid, ours.fingerprint, theirs.fingerprint)
        assert [str(link.assurance) for link in (ours, theirs)] == ["vouched" if form == "decimal" else "verified"] * 2
        await ours.verify_sas(alices.compare, form)
        await harness.settle(alice, bob)
        shown = [(prompt.form, prompt.text) for prompt in (alices.prompts[-1], bobs.prompts[-1])]
        assert shown == [(form, alices.prompts[-1].text)] * 2
        assert [str(link.assurance) for link in (ours, theirs)] == ["verified", "verified"]
        say(bob, alice.boundjid, f"We have seen the same {form}.")
        message = await heard.take()
        assert (message["e2e"]["session"], str(message["e2e"]["assurance"])) == (ours, "verified")
        assert (ours.sid, ours.fingerprint, theirs.fingerprint) == before
        await ours.close()
        await theirs.wait_closed()
    assert len({shown.decimal for shown in alices.prompts}) == len(bobs.prompts) == 3
    assert verified_keys(alice, bob) == verified_keys(bob, alice) == [("verified", "sas")]
    assert not any(map(len, strange))
    assert harness.find_text("We have seen", *(shown.words for shown in alices.prompts)) == []
