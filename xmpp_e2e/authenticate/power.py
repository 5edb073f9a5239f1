"""Powers of large numbers by OpenSSL, which lets other threads run meanwhile: Python's own ``pow()`` holds the interpreter
for a tenth of a second at 4096 bits, and with it everybody's chat.

It is the OpenSSL that Python's ``ssl`` has loaded. Where that cannot be called, the result is that of ``pow()``.
"""

from __future__ import annotations

import _ssl
import ctypes
from collections.abc import Callable

Power = Callable[[int, int, int], int]
_CONSTANT_TIME = 4
"""BN_FLG_CONSTTIME: the exponent is a secret."""


def _load(path: str) -> Power:
    """Return a function as ``pow()``, for exponents that are not negative. OSError or AttributeError if there is no OpenSSL."""
    library = ctypes.CDLL(path)
    pointer, number = ctypes.c_void_p, ctypes.c_int
    for name, result, arguments in (
        ("BN_new", pointer, ()),
        ("BN_clear_free", None, (pointer,)),
        ("BN_CTX_new", pointer, ()),
        ("BN_CTX_free", None, (pointer,)),
        ("BN_bin2bn", pointer, (ctypes.c_char_p, number, pointer)),
        ("BN_bn2binpad", number, (pointer, ctypes.c_char_p, number)),
        ("BN_set_flags", None, (pointer, number)),
        ("BN_mod_exp", number, (pointer, pointer, pointer, pointer, pointer)),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments

    def power(base: int, exponent: int, modulus: int) -> int:
        if modulus % 2 == 0:  # that takes another way in OpenSSL, and no group of ours is even
            return pow(base, exponent, modulus)
        context, result = library.BN_CTX_new(), library.BN_new()
        numbers = [_number(library, each) for each in (base % modulus, exponent, modulus)]
        try:
            library.BN_set_flags(numbers[1], _CONSTANT_TIME)
            if not library.BN_mod_exp(result, *numbers, context):  # pragma: no cover (only for want of memory)
                raise ArithmeticError("OpenSSL could not compute a power")
            size = (modulus.bit_length() + 7) // 8
            written = ctypes.create_string_buffer(size)
            library.BN_bn2binpad(result, written, size)
            return int.from_bytes(written.raw)
        finally:
            for each in (*numbers, result):
                library.BN_clear_free(each)
            library.BN_CTX_free(context)

    return power


def _number(library: ctypes.CDLL, value: int) -> int:
    written = value.to_bytes((value.bit_length() + 7) // 8 or 1)
    made: int = library.BN_bin2bn(written, len(written), None)
    return made


def load(path: str = getattr(_ssl, "__file__", "")) -> Power:
    """Return the fastest way there is that holds nobody up; ``pow`` if there is none."""
    try:
        return _load(path)
    except (OSError, AttributeError):
        return pow


power = load()
