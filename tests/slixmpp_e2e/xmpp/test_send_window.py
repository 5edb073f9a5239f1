"""How much of ours is on its way to our own server: as much as it reads within a few seconds, whatever it reads."""

from __future__ import annotations

import pytest

from slixmpp_e2e.xmpp.send_window import FIRST_WINDOW, LAST_WINDOW, LEAST_WINDOW, TARGET_SECONDS, SendWindow

BLOCK = 5700
"""Bytes of the iq around a block of 4 KiB."""


class Server:
    """Reads so many bytes a second after a burst, as Debian's servers do, and answers at once what it has read."""

    def __init__(self, rate: float, burst: float = 0.0, trip: float = 0.0) -> None:
        self.window, self._rate, self._burst, self._trip = SendWindow(), rate, burst, trip
        self.now = self.free_at = 0.0
        self._read_at: list[tuple[float, int]] = []
        self._number = 0
        self.delays: list[float] = []

    def run(self, seconds: float, size: int = BLOCK) -> int:
        """Send whenever there is room. Return the bytes that were read."""
        until, read = self.now + seconds, 0
        while self.now < until:
            while self.window.has_room:
                self._number += 1
                self.window.sent(self._number, size, self.now)
                free = min(self._burst, size)
                self._burst -= free
                self.free_at = max(self.free_at, self.now) + (size - free) / self._rate
                self._read_at.append((self.free_at + self._trip, self._number))
            self.now, number = self._read_at.pop(0)
            self.window.read(number, self.now)
            self.delays.append(self.window.delay)
            read += size
        return read


@pytest.mark.parametrize(("rate", "burst"), [(1_000, 0), (3_000, 20_000), (10_000, 20_000)])
def test_a_limit_is_used_up_and_nothing_piles_up(rate: int, burst: int) -> None:
    """What is sent waits for some seconds at most, apart from the first that follow the burst, and the server is never idle."""
    server = Server(rate, burst)
    assert server.run(300) >= 0.95 * rate * 300
    settled = server.delays[len(server.delays) // 2 :]
    assert max(settled) <= max(TARGET_SECONDS, 2 * BLOCK / rate) * 1.5
    assert max(server.delays) < 30


def test_a_fast_line_is_not_held_up() -> None:
    """100 MB a second, and 50 ms each way: after two seconds the window is as large as what is on such a line."""
    server = Server(1e8, trip=0.1)
    server.run(2)
    assert server.window.size >= 3 * 1024 * 1024
    server.run(3)
    assert server.window.size <= LAST_WINDOW


def test_it_recovers_when_the_limit_goes() -> None:
    server = Server(1_000)
    server.run(120)
    assert server.window.size < FIRST_WINDOW
    server._rate = 1e7
    server.run(30)
    assert server.window.size > 1024 * 1024


def test_it_shrinks_once_for_what_left_together() -> None:
    window = SendWindow()
    for number in range(1, 4):
        window.sent(number, 5_000, 0.0)
    window.read(1, 2 * TARGET_SECONDS)
    assert window.size == FIRST_WINDOW // 2
    window.read(3, 2 * TARGET_SECONDS)
    assert (window.size, window.in_flight) == (FIRST_WINDOW // 2, 0)
    window.sent(4, 5_000, 100.0)
    window.read(4, 1000.0)
    assert window.size == LEAST_WINDOW


def test_silence_is_told_from_slowness() -> None:
    window = SendWindow()
    assert (window.oldest_age(5.0), window.silence(5.0)) == (0.0, 0.0)
    window.sent(1, 100, 5.0)
    window.sent(2, 100, 6.0)
    assert (window.oldest_age(9.0), window.silence(9.0)) == (4.0, 4.0)
    window.read(1, 10.0)
    window.read(1, 11.0)
    assert (window.oldest_age(12.0), window.silence(12.0)) == (6.0, 2.0)
    assert window.seconds_for(100) == 200 * 5.0 / window.size
    window.begin_again(20.0)
    assert window.oldest_age(21.0) == 1.0
