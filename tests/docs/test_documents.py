"""The documents name only what exists, and their tables and drawings say what the code says."""

from __future__ import annotations

import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
import typer
from slixmpp import JID, ClientXMPP

from slixmpp_e2e import E2E, Happened, Link, Plaintext, SendFailed, SessionRefused, StoreFailed, TrustFileFailed, VerifyCut
from slixmpp_e2e import client as switchboard
from slixmpp_e2e.messages import queue as outbox
from slixmpp_e2e.messages.filters import Filters
from slixmpp_e2e.settings import DEFAULTS
from slixmpp_e2e.trust.keys import Trust
from slixmpp_e2e.trust.secrets import Shared
from tests.docs import documents
from tests.pair import identity, remembers
from tests.slixmpp_e2e.conftest import world as world
from tests.slixmpp_e2e.world import ALICE, BOB, Heard, World
from xmpp_e2e.identity import Assurance, KnownKey, Remembered, TrustModel
from xmpp_e2e.stages import DEADLINES, HUMAN_DEADLINE, diagram
from xmpp_e2e.trust.judge import Decision, OnKeyChange, judge
from xmpp_e2e.trust.policy import INCOMING, OUTGOING, Incoming, Outgoing, Policy, Situation
from xmpp_e2e_cli.app import app
from xmpp_e2e_cli.codes import Exit
from xmpp_loopback import no_tls, online

ROOT = documents.ROOT
POLICIES = (Policy.OFF, Policy.PREFER, Policy.REQUIRE)


@pytest.mark.parametrize("path", documents.DOCUMENTS, ids=lambda path: path.name)
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


@pytest.mark.parametrize("path", documents.DOCUMENTS, ids=lambda path: path.name)
def test_paths_exist(path: Path) -> None:
    """What stands in backticks and looks like a path in the repository is one."""
    named = re.findall(r"`((?:xmpp_e2e|plugins|tests|interop|docs)/[\w./*-]*)`", documents.prose(path))
    missing = [name for name in named if not list(ROOT.glob(name.rstrip("/")))]
    assert not missing


def test_the_states_are_drawn_from_the_table() -> None:
    """docs/architecture.md has the diagram that the code draws."""
    drawn = documents.text("docs/architecture.md").partition("```mermaid\n")[2].partition("\n```")[0]
    assert drawn == diagram()


def test_the_bounds_of_the_outbox() -> None:
    """docs/architecture.md tells the bounds of what waits."""
    text = " ".join(documents.text("docs/architecture.md").split())
    assert f"at most {outbox.HOLD_STANZAS} stanzas or {outbox.HOLD_BYTES // 2**20} MiB for one address" in text
    assert f"at most {outbox.FAN_OUT} resources" in text
    assert f"`Filters.{Filters.outgoing.__name__}`" in text


def test_the_settings() -> None:
    """docs/policy.md lists every setting with its default, and every word that a setting can be."""
    table = {documents.code(row[0])[0]: row[1:] for row in documents.rows("docs/policy.md", "Settings")}
    assert {name: documents.code(row[0]) for name, row in table.items()} == {n: [repr(v)] for n, v in DEFAULTS.items()}
    for name, kind in (("policy", Policy), ("trust_model", TrustModel), ("on_key_change", OnKeyChange)):
        assert documents.code(table[name][1]) == [member.value for member in kind]


def test_the_events() -> None:
    """docs/policy.md lists every event that the plugin raises, and fields that they have."""
    table = documents.rows("docs/policy.md", "Events")
    told: tuple[type[Any], ...] = switchboard._TOLD
    core = {switchboard._name(object.__new__(kind)): kind for kind in told}
    listed = {documents.code(row[0])[0]: documents.code(row[2]) for row in table}
    own: dict[str, type[Any]] = {
        "e2e_send_failed": SendFailed,
        "e2e_plaintext_refused": Plaintext,
        "e2e_plaintext_received": Plaintext,
        "e2e_store_failed": StoreFailed,
        "e2e_trust_file_failed": TrustFileFailed,
        "e2e_session_refused": SessionRefused,
        "e2e_verify_cut": VerifyCut,
    }
    assert set(listed) == {*core, *own}
    for name, words in listed.items():
        kind: type[Any] = Happened if name in core else own[name]
        assert words[0] == kind.__name__
        for word in words[1:]:
            field = word.removeprefix(".").removeprefix("detail.")
            assert field in vars(kind)["__annotations__"] or hasattr(kind, field) or field in core[name].__annotations__


def test_the_api() -> None:
    """Every method and attribute that docs/policy.md names is there."""
    table = documents.rows("docs/policy.md", "In a program")
    cells = [word for row in table for word in documents.code(row[0])]
    assert cells
    owner: type[Any] = E2E
    for cell in cells:
        call = cell.removeprefix("await ").partition("(")[0]
        prefix, _, name = call.rpartition(".")
        owner = {"e2e": E2E, "session": Link, "e2e.trust": Trust, "e2e.shared": Shared, "": owner}[prefix]
        assert hasattr(owner, name), cell


def test_the_policy_tables() -> None:
    """docs/policy.md says of every situation what the tables of the core say."""
    words = {
        Outgoing.CLEAR: "in clear",
        Outgoing.ENCRYPT: "a session, the same",
        Outgoing.FAIL_UNAVAILABLE: "`e2e_send_failed`",
    }
    table = documents.rows("docs/policy.md", "Policy")
    rows = (Situation.ADVERTISES, Situation.STRANGER, Situation.MISSED, Situation.MISSED_ALLOWED)
    for situation, row in zip(rows, table, strict=True):
        for policy, cell in zip(POLICIES, row[1:], strict=True):
            assert cell.partition(",")[0] in words[OUTGOING[situation, policy]]
    below = documents.text("docs/policy.md").partition("| a stanza came in clear")[2].splitlines()[2:4]
    said = {Incoming.DELIVER: "delivered", Incoming.REFUSE: "refused", Incoming.DELIVER_AND_TELL: "e2e_plaintext_received"}
    for seen, line in zip((False, True), below, strict=True):
        for policy, cell in zip(POLICIES, line.split("|")[2:5], strict=True):
            assert said[INCOMING[policy, seen, False]] in cell
            assert INCOMING[policy, seen, True] is INCOMING[policy, seen, False]


def test_the_table_of_keys() -> None:
    """docs/policy.md says of every kind of key what the judge says."""
    shown = identity("bob").fingerprint
    pinned = KnownKey(identity("carol").fingerprint, Assurance.VERIFIED, "pin", 0.0, blocked=True)
    memories = (
        Remembered(),
        remembers("bob"),
        remembers("bob", Assurance.VERIFIED, "pin"),
        remembers("carol"),
        Remembered((pinned,)),
        Remembered((KnownKey(shown, Assurance.NONE, "block", 0.0, blocked=True),)),
    )
    table = documents.rows("docs/policy.md", "Trust model and keys")
    for memory, row in zip(memories, table, strict=True):
        for model, cell in zip((TrustModel.SERVER_AUTHENTICATES, TrustModel.SERVER_UNTRUSTED), row[1:], strict=True):
            verdict = judge(
                memory, shown, Assurance.VOUCHED, trust_model=model, on_key_change=OnKeyChange.BY_TRUST_MODEL
            )
            said = {Decision.HOLD: "held", Decision.REJECT: "the session ends"}
            assert cell.startswith(said.get(verdict.decision, f"accepted as `{verdict.assurance}`")), row
            assert ("e2e_key_changed" in cell) == (verdict.kind.value in ("new", "changed", "blocked")), row
    assert HUMAN_DEADLINE == 5 * 60


def test_the_exit_codes() -> None:
    """docs/policy.md has each code once."""
    listed = [int(row[0]) for row in documents.rows("docs/policy.md", "Exit codes of `xmpp-e2e`")]
    assert listed == [int(code) for code in Exit]


def test_the_deadlines() -> None:
    """docs/bounds.md has the seconds of each stage."""
    listed = {documents.code(row[0])[0]: float(row[1]) for row in documents.rows("docs/bounds.md", "Deadlines")}
    assert listed == {stage.value: seconds for stage, seconds in DEADLINES.items()}


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
            assert re.search(r"[Cc]ontrol\b|The attack is real|With our filter behind", sources), attack


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


async def test_the_example_bot_answers(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The bot of README.md and docs/examples answers through the session that the message came by, and tells how it came."""
    monkeypatch.setattr("platformdirs.user_data_path", lambda *args, **kwargs: tmp_path)
    bot: ClientXMPP = example("echo_bot").Echo("bob@localhost/b", "bob's")
    bot.ssl_context = no_tls()
    world._clients.append(bot)
    await online(bot, world.server)
    alice = await world.client(ALICE)
    heard = Heard(alice, "message")
    alice.send_message(mto=JID(BOB), mbody="fog", mtype="chat")
    assert (await heard.take())["body"] == "fog [vouched]"
    assert world.in_clear("fog") == []


def test_the_readme_shows_the_example() -> None:
    """The lines of README.md that matter are those of the example."""
    shown = documents.text("README.md").partition("```python\n")[2].partition("```")[0]
    bot = documents.text("docs/examples/echo_bot.py")
    for line in ('self.register_plugin("e2e", {"policy": "prefer"}, module=slixmpp_e2e)', "['e2e']['assurance']}]\").send()"):
        assert line in shown
        assert line in bot
