"""The policy tables, row by row."""

from __future__ import annotations

import itertools

import pytest

from slixmpp_e2e.policy import INCOMING, OUTGOING, Policy, Situation, check_combination, incoming_plaintext, outgoing
from xmpp_e2e.types import TrustModel

# advertised, seen before, plaintext allowed → off, opportunistic, prefer, require
LEAVING = {
    (True, False, False): "plaintext encrypt encrypt encrypt",
    (True, False, True): "plaintext encrypt encrypt encrypt",
    (True, True, False): "plaintext encrypt encrypt encrypt",
    (True, True, True): "plaintext encrypt encrypt encrypt",
    (False, False, False): "plaintext plaintext plaintext fail-unavailable",
    (False, False, True): "plaintext plaintext plaintext fail-unavailable",
    (False, True, False): "plaintext plaintext fail-unavailable fail-unavailable",
    (False, True, True): "plaintext plaintext plaintext fail-unavailable",
    (None, False, False): "plaintext plaintext plaintext fail-unavailable",
    (None, False, True): "plaintext plaintext plaintext fail-unavailable",
    (None, True, False): "plaintext plaintext fail-unavailable fail-unavailable",
    (None, True, True): "plaintext plaintext plaintext fail-unavailable",
}
# seen before → off, opportunistic, prefer, require
COMING = {False: "deliver deliver deliver refuse", True: "deliver deliver deliver-and-tell refuse"}
POLICIES = (Policy.OFF, Policy.OPPORTUNISTIC, Policy.PREFER, Policy.REQUIRE)


@pytest.mark.parametrize(("facts", "row"), [*LEAVING.items()])
def test_what_leaves(facts: tuple[bool | None, bool, bool], row: str) -> None:
    advertised, seen, allowed = facts
    decided = [
        outgoing(policy, advertised=advertised, seen_before=seen, plaintext_allowed=allowed).value for policy in POLICIES
    ]
    assert decided == row.split()


@pytest.mark.parametrize(("seen", "row"), [*COMING.items()])
def test_what_comes_in_plaintext(seen: bool, row: str) -> None:
    assert [incoming_plaintext(policy, seen_before=seen).value for policy in POLICIES] == row.split()


def test_the_tables_are_total() -> None:
    assert set(OUTGOING) == set(itertools.product(Situation, Policy))
    assert set(INCOMING) == set(itertools.product(Policy, (False, True)))


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("model", list(TrustModel))
def test_what_a_trust_model_implies(policy: Policy, model: TrustModel) -> None:
    """A server that is trusted completely makes every policy `off`; one that is trusted with nothing, `require`."""
    implied = {TrustModel.SERVER_TRUSTED: Policy.OFF, TrustModel.SERVER_UNTRUSTED: Policy.REQUIRE}
    assert policy.effective_with(model) is implied.get(model, policy)


def test_what_contradicts_a_trust_model_is_refused() -> None:
    refused = {(policy, "server-untrusted") for policy in ("off", "opportunistic", "prefer")} | {("require", "server-trusted")}
    for policy, model in itertools.product(POLICIES, TrustModel):
        if (policy.value, model.value) in refused:
            with pytest.raises(ValueError, match=f"`{model.value}`.*`{policy.value}`"):
                check_combination(policy, model)
        else:
            check_combination(policy, model)
        check_combination(None, model)
        check_combination(policy, None)


def test_off_accepts_no_sessions() -> None:
    assert [policy.accepts_sessions for policy in POLICIES] == [False, True, True, True]
