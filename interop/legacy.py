"""A legacy module for slidge (PyPI, AGPL, for tests alone): a network of one person and one group, who answer what they hear.

    E2E_STORE=… PRIVILEGE_NAMESPACE=urn:xmpp:privilege:2 python -m slidge --legacy-module=interop.legacy --jid=… --secret=…

slidge brings its own patches of slixmpp along, so it runs in a process of its own. ejabberd of Debian 12 speaks an older
version of XEP-0356 than slixmpp; what differs, of what is used here, is the namespace.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Any

# slidge describes its generic classes by `Any`, for whoever writes a module.
from slidge import BaseGateway, BaseSession
from slidge.command import FormField
from slidge.contact import LegacyContact, LegacyRoster
from slidge.group import LegacyBookmarks, LegacyMUC, LegacyParticipant
from slixmpp.exceptions import XMPPError
from slixmpp.plugins.xep_0356.stanza import NameSpace, Perm, Privilege, PrivilegedIq

import slixmpp_e2e
from interop.scenes.gateway import ELSEWHERE, GROUP, MEMBER, PERSON

for _part in (Privilege, Perm, PrivilegedIq, NameSpace):
    _part.namespace = os.environ["PRIVILEGE_NAMESPACE"]


class Gateway(BaseGateway):
    """The component."""

    COMPONENT_NAME = "Legacy"
    COMPONENT_TYPE = "legacy"
    GROUPS = True
    REGISTRATION_FIELDS = [FormField(var="username", label="Name", required=True)]  # noqa: RUF012 - as slidge has it

    def __init__(self) -> None:
        super().__init__()
        settings = {"store_path": os.environ["E2E_STORE"], "accept_from": "anyone"}
        self.register_plugin("e2e", settings, module=slixmpp_e2e)  # the only line about encryption

    async def validate(self, user_jid: Any, registration_form: Any) -> None:
        """Let everybody in."""


class Session(BaseSession):
    """A user on the legacy network."""

    async def login(self) -> str:
        """Nothing is to be done, for there is no network."""
        return "Connected"

    async def logout(self) -> None:
        """Leave."""


class Contact(LegacyContact):
    """Juliet."""

    async def update_info(self) -> None:
        """Tell her name, and that she is here."""
        self.name = PERSON.title()
        self.is_friend = True
        self.online("in the orchard")

    async def on_message(self, message: Any) -> str:
        """Answer."""
        if message.body == ELSEWHERE:
            self.send_text(f"{ELSEWHERE}, too", carbon=True)
        self.send_text(f"You said: {message.body}")
        return f"legacy-{message.body}"

    async def on_chat_state(self, chat_state: Any, thread: Any) -> None:
        """Write while the user writes."""
        if str(chat_state) == "composing":
            self.composing()

    async def on_displayed(self, legacy_msg_id: str, thread: Any) -> None:
        """Take note."""


class Roster(LegacyRoster):
    """Whom a user knows there."""

    async def jid_username_to_legacy_id(self, jid_username: str) -> str:
        """Know nobody else."""
        if jid_username != PERSON:
            raise XMPPError("item-not-found")
        return jid_username

    async def fill(self) -> AsyncIterator[Any]:
        """Yield Juliet, whom slidge adds to the user's roster (XEP-0356)."""
        yield await self.by_legacy_id(PERSON)


class Group(LegacyMUC):
    """The garden."""

    async def update_info(self) -> None:
        """Tell its name."""
        self.name = GROUP.title()

    async def fill_participants(self) -> AsyncIterator[Any]:
        """Yield who is in it."""
        yield await self.get_participant(MEMBER)

    async def backfill(self, after: Any = None, before: Any = None) -> None:
        """There is no history."""

    async def on_message(self, message: Any) -> str:
        """Let somebody answer to all."""
        member = await self.get_participant(MEMBER)
        member.send_text(f"{message.body}, indeed")
        return f"legacy-{message.body}"

    async def on_chat_state(self, chat_state: Any, thread: Any) -> None:
        """Take note."""

    async def on_displayed(self, legacy_msg_id: str, thread: Any) -> None:
        """Take note."""


class Participant(LegacyParticipant):
    """Somebody in the garden."""


class Bookmarks(LegacyBookmarks):
    """The groups of a user."""

    async def jid_username_to_legacy_id(self, username: str) -> str:
        """Know no other."""
        if username != GROUP:
            raise XMPPError("item-not-found")
        return username

    async def fill(self) -> None:
        """There is one."""
        await self.by_legacy_id(GROUP)


# slidge 0.5 is told which class makes which; before, it finds the only one of each kind.
for _maker, _name, _made in (
    (Gateway, "session_cls", Session),
    (Session, "roster_cls", Roster),
    (Session, "bookmarks_cls", Bookmarks),
    (Roster, "contact_cls", Contact),
    (Bookmarks, "muc_cls", Group),
    (Group, "participant_cls", Participant),
):
    setattr(_maker, _name, _made)
