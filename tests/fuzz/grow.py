"""Elements grown from bytes: each byte chooses a word, so that whatever mutates the bytes mutates the element."""

from __future__ import annotations

from xml.etree.ElementTree import Element, ParseError, fromstring

_DEPTH = 5
_CHILDREN = 5
_EDITS = 7
"""Few enough that what comes of an example can still be taken."""


class Choices:
    """Bytes that are used up by choosing; when there are no more, every choice is the first."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    def number(self, below: int) -> int:
        """From 0 up."""
        self._place += 1
        return self._data[self._place - 1] % below if self._place <= len(self._data) else 0

    def piece(self, most: int) -> bytes:
        """As many as the next choice says, at most; what is left if it is less."""
        size = self.number(most + 1)
        self._place += size
        return self._data[self._place - size : self._place]

    def rest(self) -> bytes:
        """All that is left."""
        return self._data[self._place :]

    def word(self, words: tuple[str, ...]) -> str:
        """One of ``words``, or, one time in eight, a text of its own."""
        if self.number(8) == 7:
            return self.piece(255).decode("utf-8", "replace")
        return words[self.number(len(words))]

    @property
    def left(self) -> bool:
        """Is there more to choose by?"""
        return self._place < len(self._data)


def words_of(*examples: Element) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """The tags, the names of attributes, and the texts that occur in ``examples``."""
    elements = [element for example in examples for element in example.iter()]
    tags = {element.tag for element in elements}
    names = {name for element in elements for name in element.attrib}
    texts = {value for element in elements for value in (*element.attrib.values(), (element.text or "").strip())}
    return tuple(sorted(tags)), tuple(sorted(names)), tuple(sorted(texts | {"", "0", "-1", "65536"}))


def grown(choices: Choices, examples: tuple[Element, ...], depth: int = _DEPTH) -> Element:
    """An element made of the words of ``examples``: nearly right, and wrong somewhere."""
    tags, names, texts = words_of(*examples)
    root = examples[choices.number(len(examples))]
    element = Element(root.tag if depth == _DEPTH and choices.number(4) else choices.word(tags) or "none")
    for _ in range(choices.number(6)):
        element.set(names[choices.number(len(names))], choices.word(texts))
    if choices.number(2):
        element.text = choices.word(texts)
    if depth:
        for _ in range(choices.number(_CHILDREN)):
            element.append(grown(choices, examples, depth - 1))
    return element


def edited(choices: Choices, examples: tuple[Element, ...]) -> Element:
    """An example with some of its words changed, and elements added, moved or left out."""
    tags, names, texts = words_of(*examples)
    root = fresh(examples[choices.number(len(examples))])
    for _ in range(choices.number(_EDITS + 1)):
        elements = list(root.iter())
        element = elements[choices.number(len(elements))]
        match choices.number(6):
            case 0 | 1 if names:
                element.set(names[choices.number(len(names))], choices.word(texts))
            case 2:
                element.text = choices.word(texts)
            case 3 if len(element):
                element.remove(element[choices.number(len(element))])
            case 4 if len(elements) < 100:
                element.append(fresh(elements[choices.number(len(elements))]))
            case _ if element is not root:
                element.tag = tags[choices.number(len(tags))]
    return root


def fresh(element: Element) -> Element:
    """A copy that shares nothing with ``element``."""
    copy = Element(element.tag, dict(element.attrib))
    copy.text = element.text
    copy.extend([fresh(child) for child in element])
    return copy


def element_of(data: bytes, examples: tuple[Element, ...]) -> Element | None:
    """What ``data`` is read as: XML itself, or choices. None if it is XML that no server would pass on."""
    choices = Choices(data)
    match choices.number(3):
        case 0:
            return edited(choices, examples)
        case 1:
            return grown(choices, examples)
        case _:
            try:
                return fromstring(choices.rest())
            except (ParseError, ValueError, LookupError):
                return None
