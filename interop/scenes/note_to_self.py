"""Notes to oneself go inside between two programs of one account, if each has a store; with one store, the error says so."""

from __future__ import annotations

from interop.harness import Harness
from interop.helpers import Events, say


async def run(harness: Harness) -> None:
    """Alice writes to herself: to her phone, then to a second program that shares her store."""
    here = await harness.e2e_client("alice", "here")
    came, failed = Events(here, "presence_available"), Events(here, "e2e_send_failed")
    phone = await harness.e2e_client("alice", "phone")
    heard = Events(phone, "message")
    while (await came.take())["from"] != phone.boundjid:
        pass
    say(here, harness.jid("alice"), "Buy milk.")
    message = await heard.take()
    assert (message["body"], str(message["e2e"]["assurance"])) == ("Buy milk.", "vouched")
    await harness.log_out(phone)

    twin = await harness.e2e_client("alice", "twin", device="here")
    while (await came.take())["from"] != twin.boundjid:
        pass
    say(here, twin.boundjid, "Buy bread.")
    report = str(await failed.take())
    assert "shows our own key" in report
    assert "the same store" in report
    assert "store_path" in report
    assert harness.find_text("Buy milk", "Buy bread") == []
