"""A flood of offers that nobody means: everybody else is run_attempts, and what is kept is bounded."""

from __future__ import annotations

from slixmpp_e2e.sessions.admission import limits as capacity
from slixmpp_e2e.sessions.admission.rate_limit import Rate
from tests.attacks.flood import OUTSTANDING, flood
from tests.slixmpp_e2e.env import Env, e2e

OFFERS = 1500


def quarter(rate: Rate) -> tuple[float, int]:
    """Of a rate, as a setting."""
    return rate.per_second / 4, rate.burst // 4


async def test_a_flood_of_offers(env: Env) -> None:
    """A second and a half of what `make flood` does for a minute, at a quarter of the rates: each offer is answered, honest
    sessions carry every word, a contact's new session opens in the middle, and places, requests and queues keep to bounds."""
    attack, honest, _ = await flood(
        env,
        OFFERS,
        paced=False,
        request_rate=quarter(capacity.REQUEST_RATE),
        request_rate_per_domain=quarter(capacity.REQUEST_RATE_PER_DOMAIN),
    )
    assert await honest.all_heard()
    assert attack.answered == attack.sent == OFFERS
    assert set(attack.answers) >= {"result", "resource-constraint", "unexpected-request", "bad-request"}
    assert attack.answers["resource-constraint"] > OFFERS / 2
    assert capacity.HALF_OPEN / 2 <= attack.most["half-open"] <= 2 * capacity.HALF_OPEN
    assert attack.most["evil.test"] <= capacity.HALF_OPEN_PER_DOMAIN
    assert attack.most["worse.test"] <= capacity.HALF_OPEN_PER_DOMAIN
    assert attack.most["localhost"] <= capacity.HALF_OPEN_PER_PEER + 2
    assert attack.most["to write"] <= OUTSTANDING + 6 * capacity.HALF_OPEN
    assert attack.most["requests"] <= 6 * 2 * capacity.HALF_OPEN
    client = e2e(honest.victim)._client
    assert len(client.limits) <= 2 * capacity.HALF_OPEN + 3
    assert sorted(link.peer for link in client.registry if link.is_open) == ["bob@localhost/b", "carol@localhost/c"]
