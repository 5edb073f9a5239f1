"""Powers by OpenSSL are those of Python, and hold nobody up."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

import pytest
import srp._pysrp as library
from hypothesis import given
from hypothesis import strategies as st

from xmpp_e2e.authenticate import power, srp

NUMBERS = st.integers(0, 2**600)


@given(base=st.integers(-(2**600), 2**600), exponent=NUMBERS, modulus=st.integers(1, 2**600))
def test_a_power_is_that_of_python(base: int, exponent: int, modulus: int) -> None:
    assert power.power(base, exponent, modulus) == pow(base, exponent, modulus)


@pytest.mark.parametrize("path", ["/nowhere/libcrypto.so", power.__file__])
def test_without_openssl_python_computes(path: str) -> None:
    assert power.load(path) is pow


def test_openssl_is_found_here() -> None:
    """Else what follows says nothing."""
    assert power.power is not pow


def runs_beside(compute: Callable[[], object]) -> bool:
    """Return whether this thread runs while another computes, though nobody makes the other let go of the interpreter."""
    begun, ended = threading.Event(), False

    def work() -> None:
        nonlocal ended
        begun.set()
        compute()
        ended = True

    worker = threading.Thread(target=work)
    before = sys.getswitchinterval()
    sys.setswitchinterval(60)
    try:
        worker.start()
        begun.wait()
        return not ended
    finally:
        worker.join()
        sys.setswitchinterval(before)


def test_other_threads_run_meanwhile() -> None:
    """Control: Python's own holds the interpreter for the whole power."""
    group = (5, 2**2048 - 1, srp._MODULUS)
    assert runs_beside(lambda: [power.power(*group) for _ in range(10)])
    assert not runs_beside(lambda: pow(*group))


def test_what_is_set_in_the_library_is_set_for_us_alone() -> None:
    assert srp._srp.pow is power.power
    assert not hasattr(library, "pow")
    assert not library._rfc5054_compat
