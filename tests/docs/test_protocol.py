"""docs/protocol.md says what the code does: its vector, its recorded opening, its bounds and its deadlines."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import Any
from xml.etree.ElementTree import Element, canonicalize, fromstring

from slixmpp_e2e.sessions import registry as sessions
from slixmpp_e2e.sessions.admission import limits as capacity
from slixmpp_e2e.sessions.stall import STALL_PARTS, STALL_SECONDS
from slixmpp_e2e.trust import passwords
from slixmpp_e2e.verification.attempt_limiter import MAX_PASSWORD_ATTEMPTS
from slixmpp_e2e.xmpp.discovery import FEATURES
from tests.docs import documents
from xmpp_e2e import stream
from xmpp_e2e.authenticate import psk
from xmpp_e2e.authenticate.sas_text import SasForm
from xmpp_e2e.authenticate.srp import _NUMBER, DERIVED_PASSWORD_BYTES
from xmpp_e2e.config import AUTHENTICATORS
from xmpp_e2e.encoding import labelled_hash, length_prefixed
from xmpp_e2e.inner import elements as auth
from xmpp_e2e.inner import resumption, stream_management
from xmpp_e2e.inner.gate import EARLY_BUFFER_BYTES
from xmpp_e2e.negotiate import digest, jingle
from xmpp_e2e.states import STATE_TIMEOUTS, USER_TIMEOUT, State
from xmpp_e2e.stream import acks, reader, send_buffer, writer
from xmpp_e2e.stream.send_buffer import EARLY_STANZA_BYTES
from xmpp_e2e.tls import connection
from xmpp_e2e.transport import ibb
from xmpp_e2e.types import MAX_BLOCK_SIZE, MIN_BLOCK_SIZE

NAME = "docs/protocol.md"
BLOCKS = documents.blocks(NAME)
VECTOR: dict[str, Any] = json.loads(BLOCKS["neg"])
TEXT = " ".join(documents.text(NAME).split())


def half(fields: dict[str, str]) -> bytes:
    """The twelve fields as the document spells them."""
    raw = ("fingerprint", "nonce")
    return length_prefixed(*(bytes.fromhex(value) if name in raw else value.encode() for name, value in fields.items()))


def recorded(name: str) -> digest.SignalledHalf:
    """What the recorded iq of that action signals."""
    iq = fromstring(BLOCKS[name].replace("…", ""))
    return digest.signalled_half(jingle.parse(iq[0]), iq.attrib["from"], iq.attrib["to"])


def opening(role: str) -> list[reader.StreamItem]:
    """The recorded stream of one side, as our reader reads it."""
    incremental = reader.Reader()
    incremental.feed(BLOCKS[f"stream-{role}"].encode())
    seen = []
    while (event := incremental.next_event()) is not None:
        seen.append(event)
    return seen


def test_the_small_vectors() -> None:
    """lv and H give what the document says."""
    assert length_prefixed(b"", b"a").hex() == VECTOR["lv('', 'a') in hex"]
    assert labelled_hash("neg", b"", b"a").hex() == VECTOR["H('neg', '', 'a') in hex"]


def test_the_vector_is_that_of_the_recorded_opening() -> None:
    """The fields, both halves and neg follow from the recorded iqs."""
    initiate, accept = recorded("session-initiate"), recorded("session-accept")
    for signal, name in ((initiate, "initiate"), (accept, "accept")):
        assert signal.encode() == half(VECTOR[name])
        assert hashlib.sha256(signal.encode()).hexdigest() == VECTOR[f"SHA-256 of the {name}'s half"]
    assert base64.b64encode(digest.negotiation_digest(initiate, accept)).decode() == VECTOR["neg in base64"]


def test_the_recorded_streams_mirror_each_other() -> None:
    """Header, hello, done and a message on each side; the hellos agree on sid and neg."""
    hellos = []
    for role in ("initiator", "responder"):
        header, hello, done, message = opening(role)
        assert isinstance(header, reader.Header)
        assert isinstance(hello, Element)
        assert isinstance(done, Element)
        assert isinstance(message, Element)
        assert (done.tag, message.tag) == (auth.DONE, "{jabber:client}message")
        hellos.append(auth.parse_hello(hello))
    hellos[0].verify_matches(hellos[1])
    hellos[1].verify_matches(hellos[0])
    assert base64.b64encode(hellos[0].neg).decode() == VECTOR["neg in base64"]


def test_every_deadline() -> None:
    """The table of states has each state once, with its deadline."""
    table = {documents.code(row[0])[0]: row[3] for row in documents.rows(NAME, "What a session is doing")}
    assert set(table) == {stage.value for stage in State if stage is not State.IDLE}
    for stage in State:
        if stage in STATE_TIMEOUTS and STATE_TIMEOUTS[stage] < 3600 and (told := re.match(r"(\d+) s", table[stage.value])):
            assert float(told[1]) == STATE_TIMEOUTS[stage], stage
    assert table["open"].startswith("24 h")
    assert STATE_TIMEOUTS[State.OPEN] == 24 * 3600
    assert f"with {USER_TIMEOUT:.0f} s" in TEXT


def test_the_bounds_of_the_stream() -> None:
    """The table of the reader's bounds is the reader's."""
    before = reader.GREETING
    assert [row[1:] for row in documents.rows(NAME, "4. The stream inside")] == [
        [_kib(before.total_bytes), "any"],
        [_kib(before.stanza_bytes), _kib(stream.MAX_STANZA)],
        [str(before.depth), str(stream.MAX_DEPTH)],
        [_kib(stream.MAX_TAG)] * 2,
        [str(stream.MAX_ATTRIBUTES)] * 2,
        [f"{stream.MAX_NAME}, {stream.MAX_NAMESPACE}"] * 2,
    ]


def test_every_other_number() -> None:
    """Each bound that the prose names is the constant in the code."""
    for sentence in (
        f"`content/@name` | 1 to {jingle.MAX_NAME} characters",
        f"1 to {jingle.MAX_CONTENTS} in initiate and accept",
        f"without leading zero or sign, {MIN_BLOCK_SIZE} to 65535. In the accept at most {MAX_BLOCK_SIZE}",
        f"at most {jingle.MAX_METHODS}, no name twice",
        f"1 to {jingle.MAX_ASSERTION} visible ASCII characters; base64 of 1 to {jingle.MAX_FLIGHT} bytes",
        f"more than {capacity.HALF_OPEN_PER_PEER} half-open sessions",
        f"(the last {sessions.ENDED})",
        f"Up to {ibb.FIRST_WINDOW} iqs (growing to {ibb.LAST_WINDOW}) and {_kib(ibb.RECEIVE_QUEUE)} are on their way",
        f"the {ibb.RECEIVE_BLOCKS + 1}th stanza without an answer of ours, or more than {_kib(2 * ibb.RECEIVE_QUEUE)} unread",
        f"{STALL_SECONDS:.0f} seconds without any answer, or in which less than one part in {STALL_PARTS} of what waited",
        f"At most {_kib(connection.HANDSHAKE_BYTES)} may come before the handshake is done",
        f"records of at most {connection.RECORD_BYTES} bytes",
        f"at most {_kib(EARLY_STANZA_BYTES)} of them until the peer's done",
        f"is held, in order, at most {_kib(EARLY_BUFFER_BYTES)}",
        f"at most {jingle.MAX_METHODS} names, divided by white space",
        f"of more than {auth._MAX_STEP} characters",
        f"names `[a-z0-9-]{{1,{jingle.MAX_METHOD_NAME}}}`",
        f"whose `method` has more than {jingle.MAX_METHOD_NAME} characters",
        f"In an open session each of these has {USER_TIMEOUT:.0f} s",
        f"ours makes {psk.KEY_BYTES} bytes and refuses fewer than {psk.MIN_KEY_BYTES}",
        f"{passwords.MEMORY_KIB // 1024} MiB, {passwords.PASSES} passes, {passwords.LANES} lane,"
        f" {DERIVED_PASSWORD_BYTES} bytes",
        f"{_NUMBER.start} to {_NUMBER.stop - 1} bytes: the first is not zero",
        f"After {MAX_PASSWORD_ATTEMPTS} ours is locked",
    ):
        assert " ".join(sentence.split()) in TEXT


def test_the_forms_of_a_code() -> None:
    """Each form is told, and there are no others."""
    table = documents.rows(NAME, "sas")
    assert [documents.code(row[0])[0] for row in table] == [form.value for form in SasForm]


def test_every_method() -> None:
    """The example of a negotiation lists what there is."""
    listed = re.findall(r"<method name='(\w+)'/>", documents.text(NAME).partition("## 2.")[0])
    assert listed == [each.name for each in AUTHENTICATORS]


def test_every_namespace_and_feature() -> None:
    """What the document names is what the code speaks."""
    named = {word for row in documents.rows(NAME, "The wire protocol, version 1") for word in documents.code(row[0])}
    ours = (jingle.NS_JINGLE, jingle.NS_ERRORS, jingle.NS_XMLSTREAM, jingle.NS_IBB, jingle.NS_DTLS, jingle.NS_SECURITY)
    assert named == {*ours, ibb.NS_IBB, auth.NS_AUTH, acks.NS_SM}
    advertised = TEXT.partition("the features ")[2].partition(". The last decides")[0]
    assert tuple(documents.code(advertised)) == FEATURES
    assert all(group in TEXT for group in connection.HYBRID_GROUPS)


def test_acknowledgements() -> None:
    """The examples are what the code writes, and the numbers those that it keeps to."""
    examples = documents.text(NAME).partition("```xml sm\n")[2].partition("```")[0].splitlines()
    sid = "5a1e0c5d6f1e4a1bb4cf7a5a3d1c9e02"
    written = (
        acks.build_request(),
        acks.build_answer(3),
        acks.build_resume(acks.RESUME, sid, 7),
        acks.build_resume(acks.RESUMED, sid, 12),
    )
    assert [canonicalize(line) for line in examples] == [canonicalize(writer.element(each).decode()) for each in written]
    for sentence in (
        f"SHOULD go alone when a stanza waits for it (ours: {stream_management.ACK_SECONDS} s)",
        f"ours {send_buffer.SEND_BUFFER_BYTES // 2**20} MiB, and asks when half of that is full",
        f"the {stream_management.MAX_RESUMES + 1}rd in a session",
        f"for {resumption.KEPT_SECONDS // 3600:.0f} hours after its end",
        "one to nineteen ASCII digits",
    ):
        assert " ".join(sentence.split()) in TEXT
    assert (resumption.STATES_PER_LINK, acks._MAX_DIGITS, acks._MAX_ID) == (8, 19, 128)


def _kib(size: int | None) -> str:
    assert size is not None
    return f"{size // 1024} KiB"
