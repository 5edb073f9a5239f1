"""Prosody as a child process: `interop/servers/install.sh prosody` installs it."""

from __future__ import annotations

import pytest

from interop.harness import Harness
from interop.servers.ca import Authority
from interop.servers.prosody import Prosody
from interop.servers.prosody.config import quote, storage_name
from xmpp_loopback import LoginFailed


async def test_another_authority_is_not_believed() -> None:
    """A client with another authority refuses the server's certificate."""
    async with Prosody() as server, Harness(server) as harness:
        server.ca_file.write_bytes(Authority().pem)
        with pytest.raises(LoginFailed, match="CERTIFICATE_VERIFY_FAILED"):
            await harness.client("alice")


async def test_several_run_side_by_side() -> None:
    """Servers share nothing: each has its own port, storage and authority."""
    async with Prosody("a.test") as first, Prosody("b.test") as second:
        assert first.port != second.port
        assert first.ca_file.read_bytes() != second.ca_file.read_bytes()
        async with Harness(first) as one, Harness(second) as two:
            await one.client("alice")
            await two.client("alice")
        assert {handled.client for handled in second.handled() if handled.client} == {"alice@b.test/harness"}


async def test_debians_limits_slow_a_client_down() -> None:
    """With ``limits`` the module is loaded with Debian's 10 kB/s; otherwise it is not."""
    async with Prosody(limits=True) as limited, Prosody() as free:
        configured = [(server.ca_file.parent / "prosody.cfg.lua").read_text() for server in (limited, free)]
    assert '"limits"' in configured[0]
    assert 'rate = "10kb/s"' in configured[0]
    assert "limits" not in configured[1]


@pytest.mark.parametrize("backend", ["epoll", "select"])
async def test_the_network_backend_can_be_chosen(backend: str) -> None:
    """Prosody uses the backend that is asked for (proxy65 behaves differently on them)."""
    async with Prosody(network_backend=backend) as server:
        assert f"using the {backend} backend" in server.log_tail()


def test_lua_and_storage_names_are_escaped() -> None:
    """Text cannot leave its Lua string, and a name cannot leave its folder."""
    assert quote('a"; os.exit() --\\') == '"a\\034\\059 os.exit\\040\\041 --\\092"'
    assert storage_name("../a.test") == "%2e%2e%2fa%2etest"
