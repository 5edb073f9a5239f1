"""The type of hooks, and how a stanza passes through several of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias
from xml.etree.ElementTree import Element

Hook: TypeAlias = Callable[[Element, str], Element | list[Element] | None]
"""``hook(stanza, sender)`` is called with each stanza, stamped, and the full JID of its sender, before routing.

It returns the stanza, changed in place or not, another one, several, or None to drop it. It must not block.
"""


def through(hooks: Iterable[Hook], stanza: Element, sender: str) -> list[Element]:
    """Pass a stanza through all hooks in order; return what the last one lets through."""
    stanzas = [stanza]
    for hook in hooks:
        stanzas = [passed for each in stanzas for passed in _as_list(hook(each, sender))]
    return stanzas


def _as_list(passed: Element | list[Element] | None) -> Iterable[Element]:
    if passed is None:
        return ()
    return passed if isinstance(passed, list) else (passed,)
