"""Two compare a short string, in numbers, pictures or words: the session that they have becomes `verified` on both sides."""

from __future__ import annotations

from interop.props import Heard, Person, proved, say, session
from interop.stage import Stage


async def play(stage: Stage) -> None:
    """Bob's program shows it when Alice's asks. They do it again, with other strings, whoever has begun the session."""
    alices, bobs = Person(), Person()
    alice, bob = await stage.encrypted("alice"), await stage.encrypted("bob", sas=bobs.looks)
    heard, strange = Heard(alice, "message"), [Heard(client, "e2e_key_changed") for client in (alice, bob)]
    for form, first, second in (("decimal", alice, bob), ("emoji", bob, alice), ("words", alice, bob)):
        ends = dict(zip((first, second), await session(first, second), strict=True))
        ours, theirs = ends[alice], ends[bob]
        before = (ours.sid, ours.fingerprint, theirs.fingerprint)
        assert [str(link.assurance) for link in (ours, theirs)] == ["vouched" if form == "decimal" else "verified"] * 2
        await ours.verify_sas(alices.looks, form)
        await stage.settle(alice, bob)
        assert [(shown.form, shown.text) for shown in (alices.saw[-1], bobs.saw[-1])] == [(form, alices.saw[-1].text)] * 2
        assert [str(link.assurance) for link in (ours, theirs)] == ["verified", "verified"]
        say(bob, alice.boundjid, f"We have seen the same {form}.")
        message = await heard.take()
        assert (message["e2e"]["session"], str(message["e2e"]["assurance"])) == (ours, "verified")
        assert (ours.sid, ours.fingerprint, theirs.fingerprint) == before
        await ours.close()
        await theirs.ended()
    assert len({shown.decimal for shown in alices.saw}) == len(bobs.saw) == 3
    assert proved(alice, bob) == proved(bob, alice) == [("verified", "sas")]
    assert not any(map(len, strange))
    assert stage.readable("We have seen", *(shown.words for shown in alices.saw)) == []
