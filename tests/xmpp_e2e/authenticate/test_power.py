"""Powers by OpenSSL are those of Python, and hold nobody up."""

from __future__ import annotations

import threading
import time
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
    assert library.pow is power.power


def pause(compute: Callable[[], object]) -> float:
    """Return for how many seconds at most this thread could not run while another computed."""
    worker = threading.Thread(target=compute)
    longest, last = 0.0, time.perf_counter()
    worker.start()
    while worker.is_alive():
        time.sleep(0)
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    return longest


def test_other_threads_run_meanwhile() -> None:
    """Side by side with Python's own, which holds the interpreter for the whole power. The best of some tries counts: this
    machine does other things, too."""
    group = (5, 2**2048 - 1, srp._MODULUS)
    by_python = min(pause(lambda: pow(*group)) for _ in range(3))
    by_openssl = min(pause(lambda: [power.power(*group) for _ in range(10)]) for _ in range(5))
    assert by_openssl < by_python / 2
