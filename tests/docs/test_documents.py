"""The documents name only what exists, and their tables and drawings say what the code says."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
import typer
from slixmpp import JID, ClientXMPP
from slixmpp.plugins import BasePlugin

import slixmpp_e2e
from slixmpp_e2e import E2E, E2EError, E2EEvent, E2ESession, SessionEvent, events, routing_events
from slixmpp_e2e.messages.queue_limits import FULL_ACCOUNTS, FULL_STRANGERS, FULL_STRANGERS_PER_DOMAIN, QUEUE_STANZAS
from slixmpp_e2e.messages.routing import MAX_DEVICES
from slixmpp_e2e.policy import INCOMING, OUTGOING, Incoming, Outgoing, Policy, Situation
from slixmpp_e2e.settings import DEFAULTS
from slixmpp_e2e.settings import RENAMED as RENAMED_SETTINGS
from slixmpp_e2e.store import KeyFile, Keyring, StoreReason
from slixmpp_e2e.trust.keys import PeerKeys
from slixmpp_e2e.trust.secrets import PeerSecrets
from slixmpp_e2e.trust.trust_file.parse import _RENAMED as RENAMED_KEYS
from tests.docs import documents
from tests.pair import identity, remembers
from tests.slixmpp_e2e.conftest import env as env
from tests.slixmpp_e2e.env import ALICE, BOB, Env, Events
from xmpp_e2e.config import VerifyWhen
from xmpp_e2e.key_decision import Decision, OnKeyChange, decide
from xmpp_e2e.states import STATE_TIMEOUTS, USER_TIMEOUT, diagram
from xmpp_e2e.types import Assurance, KnownKey, KnownKeys, TrustModel
from xmpp_e2e_cli.app import app
from xmpp_e2e_cli.errors import ConnectionReason, UsageReason
from xmpp_e2e_cli.exit_codes import ExitCode
from xmpp_loopback import no_tls, online

ROOT = documents.ROOT
POLICIES = tuple(Policy)
SETTINGS, EVENTS, POLICY, API = (f"docs/reference/{name}.md" for name in ("settings", "events", "policies", "api"))
FOR_OTHERS = {"e2e.secrets.put", *(f"e2e.{name}" for name in vars(BasePlugin))}
"""What the command calls, and slixmpp."""
GUIDES = sorted((ROOT / "docs/guide").glob("*.md"))


@pytest.mark.parametrize("path", documents.DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(path: Path) -> None:
    """Every link inside the repository leads to a file, and to a heading in it if it names one."""
    for link in documents.links(path):
        if link.startswith("https://"):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        assert not anchor or anchor in documents.anchors(target), link


@pytest.mark.parametrize("path", documents.DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_paths_exist(path: Path) -> None:
    """What stands in backticks and looks like a path in the repository is one."""
    named = re.findall(r"`((?:xmpp_e2e|plugins|tests|interop|docs)/[\w./*-]*)`", documents.prose(path))
    missing = [name for name in named if not list(ROOT.glob(name.rstrip("/")))]
    assert not missing


def test_the_states_are_drawn_from_the_table() -> None:
    """docs/architecture.md has the diagram that the code draws."""
    drawn = documents.text("docs/architecture.md").partition("```mermaid\nstateDiagram")[2].partition("\n```")[0]
    assert f"stateDiagram{drawn}" == diagram()


def test_the_drawn_ways_and_the_changes_name_what_there_is() -> None:
    """Each name of the code in the two drawings, and in the table of where to change what, is one."""
    text = documents.text("docs/architecture.md")
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "plugins/slixmpp_e2e").rglob("*.py"))
    code += (ROOT / "xmpp_e2e/session.py").read_text(encoding="utf-8")
    code += (ROOT / "xmpp_e2e/inner/proof_queue.py").read_text(encoding="utf-8")
    drawn = "\n".join(re.findall(r"```mermaid\nflowchart.*?```", text, re.DOTALL))
    dotted = re.findall(r"\b([A-Z]\w+)\.(\w+)\b", drawn + "`ProofQueue.add`")
    assert len(dotted) > 20
    missing = [name for name, member in dotted if f"class {name}" not in code]
    missing += [member for _, member in dotted if not re.search(rf"(def |self\.|\n    ){member}\b", code)]
    table = text.partition("### Where to change what")[2].partition("\n## ")[0]
    names = re.findall(r"`([A-Za-z_]+)`", table)
    missing += [name for name in names if not re.search(rf"(def |class |\b){name}\b", code)]
    assert missing == []


# --- the reference ---------------------------------------------------------------------------------------------------


def test_the_settings() -> None:
    """settings.md lists every setting with its default, and every word that a setting can be."""
    table = {documents.code(row[0])[0]: row[1:] for row in documents.all_rows(SETTINGS) if len(row) == 4}
    assert {name: documents.code(row[0]) for name, row in table.items()} == {n: [repr(v)] for n, v in DEFAULTS.items()}
    words = {"policy": Policy, "trust_model": TrustModel, "on_key_change": OnKeyChange, "verify_when": VerifyWhen}
    for name, kind in words.items():
        assert documents.code(table[name][1]) == [member.value for member in kind]
    assert documents.code(table["key_protection"][1])[:2] == [f'"{KeyFile.kind}"', f'"{Keyring.kind}"']
    assert (FULL_ACCOUNTS, FULL_STRANGERS, FULL_STRANGERS_PER_DOMAIN) == (8, 4, 2)
    shares = "eight times as many in all, of which strangers get four, and those of one domain two"
    assert shares in table["queue_bytes"][2]
    assert f"at most {QUEUE_STANZAS} for one account" in documents.text(SETTINGS)


def event_classes() -> Iterator[type[E2EEvent]]:
    """The classes of both modules of events that have a name."""
    for kind in (vars(events) | vars(routing_events)).values():
        if isinstance(kind, type) and issubclass(kind, E2EEvent) and "name" in vars(kind):
            yield kind


def test_the_events() -> None:
    """events.md lists every event with its class, its level and its fields, and so does the guide for clients."""
    kinds = {kind.name: kind for kind in event_classes()}
    first = documents.rows(EVENTS, "Events")
    levels = {"debug": 10, "info": 20, "warning": 30, "error": 40}
    listed = {documents.code(row[0])[0]: (documents.code(row[1])[0], levels[row[2]]) for row in first}
    assert listed == {name: (kind.__name__, kind.level) for name, kind in kinds.items()}
    listed_fields = [tuple(documents.code(cell)[0] for cell in row[:2]) for row in documents.rows(EVENTS, "Fields")]
    assert listed_fields == [
        (documents.code(row[1])[0], field.name)
        for row in first
        for field in fields(kinds[documents.code(row[0])[0]])  # type: ignore[arg-type]
    ]
    assert all(getattr(slixmpp_e2e, kind.__name__) is kind for kind in kinds.values())
    assert isinstance(SessionEvent.peer, property)
    assert [documents.code(row[0])[0] for row in documents.rows("docs/guide/clients.md", "Handle the events")] == list(listed)


def test_the_api() -> None:
    """api.md names every method and attribute that programs may use, and no other."""
    owners = {"e2e": E2E, "session": E2ESession, "e2e.trust": PeerKeys, "e2e.secrets": PeerSecrets}
    told = [documents.code(row[0])[0].partition("(")[0] for row in documents.rows(API, "The API of the plugin")]
    there = {f"{owner}.{name}" for owner, kind in owners.items() for name in vars(kind) if not name.startswith("_")}
    assert sorted(told) == sorted(there - FOR_OTHERS)
    for row in documents.rows(API, "Errors"):
        assert issubclass(getattr(slixmpp_e2e, documents.code(row[0])[0]), E2EError)
    reasons = [f"NotSentReason.{reason.name}" for reason in slixmpp_e2e.NotSentReason]
    assert [documents.code(row[0])[0] for row in documents.rows(API, "Reasons of NotSent")] == reasons


def test_the_policy_tables() -> None:
    """policies.md says of every situation what the tables of the code say."""
    leaves = {Outgoing.PLAINTEXT: "plaintext", Outgoing.ENCRYPT: "encrypted", Outgoing.FAIL_UNAVAILABLE: "fails"}
    situations = (Situation.ADVERTISES, Situation.NEVER_SEEN, Situation.KNOWN_BUT_NOT_ADVERTISING, Situation.PLAINTEXT_ALLOWED)
    for situation, row in zip(situations, documents.rows(POLICY, "Policy", 1), strict=True):
        assert row[1:] == [leaves[OUTGOING[situation, policy]] for policy in POLICIES]
    comes = {Incoming.DELIVER: "delivered", Incoming.DELIVER_AND_TELL: "delivered, and told", Incoming.REFUSE: "refused"}
    for seen, row in zip((False, True, True), documents.rows(POLICY, "Policy", 2), strict=True):
        assert row[1:] == [comes[INCOMING[policy, seen]] for policy in POLICIES]
    assert f"at most {MAX_DEVICES} |" in documents.text(POLICY)


def test_the_table_of_keys() -> None:
    """policies.md says of every kind of key what the core decides."""
    shown = identity("bob").fingerprint
    pinned = KnownKey(identity("carol").fingerprint, Assurance.VERIFIED, "pin", 0.0, blocked=True)
    known = (
        KnownKeys(),
        remembers("bob"),
        KnownKeys((KnownKey(shown, Assurance.VOUCHED, "accept", 0.0), pinned)),
        remembers("bob", Assurance.VERIFIED, "pin"),
        remembers("carol"),
        KnownKeys((*remembers("bob").keys, pinned)),
        remembers("carol", Assurance.VERIFIED, "pin").rotated(identity("carol").fingerprint, shown),
        KnownKeys((KnownKey(shown, Assurance.NONE, "block", 0.0, blocked=True),)),
    )
    said = {Decision.HOLD: "held", Decision.REJECT: "rejected"}
    for keys, row in zip(known, documents.rows(POLICY, "Keys"), strict=True):
        for model, cell in zip((TrustModel.SERVER_AUTHENTICATES, TrustModel.SERVER_UNTRUSTED), row[1:3], strict=True):
            found = decide(keys, shown, Assurance.VOUCHED, trust_model=model, on_key_change=OnKeyChange.BY_TRUST_MODEL)
            assert cell == said.get(found.decision, f"accepted as `{found.assurance}`"), row
            assert (row[3] == "yes") == (not found.status.is_expected), row
    assert USER_TIMEOUT == 5 * 60
    assert [documents.code(row[0])[0] for row in documents.rows(POLICY, "Keys", 3)] == [each.value for each in OnKeyChange]


def test_the_exit_codes() -> None:
    """exit-codes.md has each code once, with its name, and each reason of the command's own errors."""
    page = "docs/reference/exit-codes.md"
    listed = [(int(row[0]), documents.code(row[1])[0]) for row in documents.rows(page, "Exit codes of `xmpp-e2e`")]
    assert listed == [(int(code), code.name) for code in ExitCode]
    for kind, reasons in {"UsageError": UsageReason, "ConnectionFailed": ConnectionReason, "StoreError": StoreReason}.items():
        told = [documents.code(row[0])[0] for row in documents.rows(page, f"Codes of `{kind}`")]
        assert told == [reason.value for reason in reasons]


def test_the_renames() -> None:
    """CHANGELOG.md tells every old name that is refused, and its new one."""
    for heading, renamed in (
        ("Settings", RENAMED_SETTINGS),
        ("Events", events.RENAMED),
        ("Keys of the trust file", RENAMED_KEYS),
    ):
        table = documents.rows("CHANGELOG.md", heading)
        assert {documents.code(old)[0]: documents.code(new)[0] for old, new in table} == renamed


# --- the guides ------------------------------------------------------------------------------------------------------


def snippets(path: Path) -> str:
    """All Python of a guide: its snippets stand on those before them."""
    return "\n\n".join(re.findall(r"^```python[^\n]*\n(.*?)^```$", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL))


def test_the_snippets_are_typed(tmp_path: Path) -> None:
    """mypy finds no fault in the guides' snippets; they import public modules only."""
    for path in GUIDES:
        source = snippets(path)
        (tmp_path / f"guide_{path.stem}.py").write_text(source, encoding="utf-8")
        modules = {node.module for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)}
        ours = {module for module in modules if module and module.startswith(("slixmpp_e2e", "xmpp_"))}
        assert ours <= {"slixmpp_e2e", "slixmpp_e2e.alarms", "slixmpp_e2e.store", "xmpp_loopback"}
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", *map(str, sorted(tmp_path.glob("*.py")))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout


async def test_the_test_in_the_guide_passes(tmp_path: Path) -> None:
    """The test that the guide for bots shows passes."""
    guide: dict[str, Any] = {}
    exec(compile(snippets(ROOT / "docs/guide/bots.md"), "docs/guide/bots.md", "exec"), guide)
    await guide["test_a_reply_is_encrypted"](tmp_path)


# --- the other documents ---------------------------------------------------------------------------------------------


def test_the_deadlines() -> None:
    """docs/bounds.md has the seconds of each state."""
    listed = {documents.code(row[0])[0]: float(row[1]) for row in documents.rows("docs/bounds.md", "Deadlines")}
    assert listed == {stage.value: seconds for stage, seconds in STATE_TIMEOUTS.items()}


def test_the_commands() -> None:
    """README.md names every command, and no other."""
    group: Any = typer.main.get_command(app)
    groups = {name: command.commands for name, command in group.commands.items() if hasattr(command, "commands")}
    there = {f"{name} {command}" for name, commands in groups.items() for command in commands}
    there |= set(group.commands) - set(groups)
    named = set()
    for row in documents.rows("README.md", "The command"):
        first, *others = documents.code(row[0])
        words = first.removeprefix("xmpp-e2e ").split()
        prefix = f"{words[0]} " if words[0] in groups else ""
        named.add(prefix + words[1] if prefix else words[0])
        named |= {prefix + other.split()[0] for other in others}
    assert named == there


def test_the_trust_models_and_levels() -> None:
    """README.md and docs/threats.md name every preset; the latter every level."""
    presets = {model.value for model in TrustModel}
    assert {documents.code(row[0])[0] for row in documents.rows("README.md", "How much do you trust your server?")} == presets
    assert {documents.code(row[0])[0] for row in documents.rows("docs/threats.md", "Three threat models")} == presets
    levels = [documents.code(row[0])[0] for row in documents.rows("docs/threats.md", "What each assurance is worth")]
    assert levels == [str(level) for level in Assurance]


def test_a_control_is_claimed_only_where_there_is_one() -> None:
    """docs/threats.md says *Control* of tests that have one."""
    for _, attack, told, tests in documents.rows("docs/threats.md", "Attacks"):
        sources = "".join((ROOT / "docs" / link).read_text() for link in re.findall(r"\]\(([^)]+)\)", tests))
        assert sources, attack
        if "*Control*" in told:
            assert re.search(r"^(async )?def test_(\w+_)?control_|\bControl: ", sources, re.MULTILINE), attack


def test_every_attack_is_listed() -> None:
    """docs/threats.md has every test of tests/attacks in its table, each attack's number once, in order."""
    table = documents.rows("docs/threats.md", "Attacks")
    linked = {link.rpartition("/")[2] for *_, tests in table for link in re.findall(r"\]\(([^)]+)\)", tests)}
    assert {path.name for path in (ROOT / "tests/attacks").glob("test_*.py")} <= linked
    numbers = [int(number) for number, *_ in table if number]
    assert numbers == sorted(set(numbers))


# --- the example -----------------------------------------------------------------------------------------------------


def example(name: str) -> Any:
    """A module of docs/examples."""
    spec = spec_from_file_location(name, ROOT / f"docs/examples/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def test_the_example_bot_answers(env: Env, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The bot of README.md and docs/examples answers through the session that the message came by, and tells how it came."""
    monkeypatch.setattr("platformdirs.user_data_path", lambda *args, **kwargs: tmp_path)
    bot: ClientXMPP = example("echo_bot").Echo("bob@localhost/b", "bob's")
    bot.ssl_context = no_tls()
    env._clients.append(bot)
    await online(bot, env.server)
    alice = await env.client(ALICE)
    heard = Events(alice, "message")
    alice.send_message(mto=JID(BOB), mbody="fog", mtype="chat")
    assert (await heard.take())["body"] == "fog [vouched]"
    assert env.in_clear("fog") == []


def test_the_readme_shows_the_example() -> None:
    """The lines of README.md that matter are those of the example."""
    shown = documents.text("README.md").partition("```python\n")[2].partition("```")[0]
    bot = documents.text("docs/examples/echo_bot.py")
    for line in ('self.register_plugin("e2e", {"policy": "prefer"}, module=slixmpp_e2e)', "['e2e']['assurance']}]\").send()"):
        assert line in shown
        assert line in bot
