"""Users can import the package in their tests, with the fixture or as in the package's docstring."""

from __future__ import annotations

import ast
import inspect
import textwrap

import pytest

import xmpp_loopback

pytest_plugins = ["pytester"]

WITH_FIXTURE = """
    import pytest
    from slixmpp import ClientXMPP
    from xmpp_loopback import LoginFailed, no_tls, offline, online

    pytest_plugins = ["xmpp_loopback.pytest_plugin"]

    @pytest.mark.parametrize("loopback_accounts", [None, {"alice": "secret"}])
    async def test_log_in(loopback_server, loopback_accounts):
        alice = ClientXMPP("alice@localhost/x", "secret", ssl_context=no_tls())
        await online(alice, loopback_server)
        assert loopback_server.online == ["alice@localhost/x"]
        await offline(alice)
        mallory = ClientXMPP("alice@localhost/x", "guess", ssl_context=no_tls())
        if loopback_accounts:
            with pytest.raises(LoginFailed):
                await online(mallory, loopback_server)
        await offline(mallory)
"""
IMPORTS = "import asyncio\nfrom slixmpp import ClientXMPP\nfrom xmpp_loopback import LoopbackServer, no_tls, offline, online\n"


@pytest.mark.parametrize("mode", ["auto", "strict"])
def test_the_fixture_runs_a_server(pytester: pytest.Pytester, mode: str) -> None:
    marked = WITH_FIXTURE.replace("    @pytest", "    @pytest.mark.asyncio\n    @pytest")
    pytester.makepyfile(WITH_FIXTURE if mode == "auto" else marked)
    pytester.runpytest_subprocess("-o", f"asyncio_mode={mode}", "-p", "no:cacheprovider").assert_outcomes(passed=2)


def test_the_example_of_the_package_passes(pytester: pytest.Pytester) -> None:
    """Users copy it from the docstring."""
    assert xmpp_loopback.__doc__ is not None
    example = xmpp_loopback.__doc__.partition("::\n\n")[2].partition("\n\nOr load")[0]
    pytester.makepyfile(IMPORTS + textwrap.dedent(example))
    pytester.runpytest_subprocess("-o", "asyncio_mode=auto", "-p", "no:cacheprovider").assert_outcomes(passed=1)


def test_what_the_package_imports_is_public() -> None:
    """Type checkers of users refuse a name that is not in ``__all__``."""
    tree = ast.parse(inspect.getsource(xmpp_loopback))
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.level]
    assert sorted(alias.name for node in imports for alias in node.names) == sorted(xmpp_loopback.__all__)
