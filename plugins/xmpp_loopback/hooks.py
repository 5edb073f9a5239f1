"""What a hook is, and how a stanza goes through several."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias
from xml.etree.ElementTree import Element

Hook: TypeAlias = Callable[[Element, str], Element | list[Element] | None]
"""``hook(stanza, sender)`` is called with each stanza, stamped, and its sender's full JID, before it is routed.

It returns the stanza, changed in place or not, another one, several, or None to drop it. It must not block.
"""


def through(hooks: Iterable[Hook], stanza: Element, sender: str) -> list[Element]:
    """What comes out behind the last hook; what one returns the next one gets."""
    stanzas = [stanza]
    for hook in hooks:
        stanzas = [passed for each in stanzas for passed in _as_list(hook(each, sender))]
    return stanzas


def _as_list(passed: Element | list[Element] | None) -> Iterable[Element]:
    if passed is None:
        return ()
    return passed if isinstance(passed, list) else (passed,)
