"""Cuts a stream of XML where its tokens end (XML 1.0 §2), so that a parser is never handed a part of one.

Incremental parsers differ in their handling of an incomplete token. Expat 2.6, and the older ones that got its
security fixes, look at it again only when twice as much has come; until then a stanza that is complete may wait.

The cut judges nothing. It knows just enough of XML to find the end of a token, or the first byte that no token can have
there; the parser names the fault.
"""

from __future__ import annotations

import re

_CONTROL = rb"\x00-\x08\x0b\x0c\x0e-\x1f"
_NEVER = _CONTROL + rb"\"&'<>\["

# The patterns that find the end of white space, text, a CDATA section, a tag, the value of an attribute, …
_SPACE = re.compile(rb"[^ \t\r\n]")
_TEXT = re.compile(rb"[<&]")
_SECTION = re.compile(rb"\]\]>")
_TAG = re.compile(rb"[%b]" % _NEVER)
_VALUES = {quote: re.compile(rb"[%b<%b]" % (_CONTROL, quote)) for quote in (b"'", b'"')}
_REFERENCE = re.compile(rb"[^\w#.:\x80-\xff-]")
_COMMENT = re.compile(rb"--.", re.DOTALL)
_INSTRUCTION = re.compile(rb"\?>")

_OPENINGS = {b"<![CDATA[": _SECTION, b"<!--": _COMMENT, b"<?": _INSTRUCTION}
"""Every other ``<`` begins a tag, or a declaration, which ends like one as far as a stream is concerned."""
_ENDS = {_TAG: b">", _REFERENCE: b";", _COMMENT: b"-->", _INSTRUCTION: b"?>"}

TAG = re.compile(rb"<[^!?%b][^%b]*(?:(?:'[^%b<']*'|\"[^%b<\"]*\")[^%b]*)*>" % (_NEVER, _NEVER, _CONTROL, _CONTROL, _NEVER))
"""A whole tag; it matches many broken ones as well."""
_NO_TAG = re.compile(rb"<[!?]")
_UNFINISHED = re.compile(rb"(?:\r|\]\]?|[\xc2-\xdf]|[\xe0-\xef][\x80-\xbf]?|[\xf0-\xf4][\x80-\xbf]{0,2})\Z")
"""Bytes at the end of a text that may be the beginning of a line break, of ``]]>`` or of a character."""


class Tokens:
    """Makes whole tokens out of pieces of any size, and looks at each byte a few times at most, however small the pieces are.

    The caller bounds the length of a token: ``len()`` bytes of one without an end are kept.
    """

    def __init__(self) -> None:
        self.broken = False
        """True once the last cut ended with a byte that no token can have there. Nothing is cut any more."""
        self._outside = _SPACE  # before the first tag there is nothing but white space between tokens
        self._until = _SPACE
        self._kept = bytearray()
        self._whole = 0  # so much of it is whole tokens
        self._seen = 0  # so much of it needs no second look

    def __len__(self) -> int:
        return len(self._kept)

    def cut(self, data: bytes) -> bytes:
        """All tokens that ``data``, which follows what was kept of earlier data, makes whole; the rest is kept."""
        kept = self._kept
        # no test fails without this shortcut, which takes most pieces: it only saves time
        plain = self._until is _TEXT and not (kept or self.broken or _NO_TAG.search(data))
        if plain and TAG.fullmatch(data, data.rfind(b"<")):
            return self._checked(data)
        kept += data
        stop = 0
        while not self.broken:
            # no test fails without this: it only saves time
            if self._until is _TEXT:
                if self._seen >= stop:
                    other = _NO_TAG.search(kept, self._seen)
                    stop = other.start() if other else len(kept)
                self._skip(stop)
            found = self._until.search(kept, self._seen)
            if found is None:
                self._run_out()
                break
            self._seen = found.end()
            if self._until is not self._outside:
                self._go_on(found[0])
            elif not self._begin(found.start()):
                break
        tokens = bytes(kept[: self._whole])
        del kept[: self._whole]
        self._seen -= self._whole
        self._whole = 0
        return self._checked(tokens)

    def _checked(self, tokens: bytes) -> bytes:
        """For a character that broke off a parser would wait, too."""
        try:
            tokens.decode()
        except UnicodeDecodeError:
            self.broken = True
        return tokens

    def _skip(self, stop: int) -> None:
        """Go to the last tag but one before ``stop``. The parser gets what is before it and a ``<`` besides: what is not
        whole there, it finds broken. The same goes for references, where there are no tags."""
        for opening in b"<", b"&":
            last = self._kept.rfind(opening, self._seen, stop)
            if last >= 0:
                self._seen = max(self._seen, self._kept.rfind(opening, self._seen, last))
                stop = last

    def _begin(self, start: int) -> bool:
        """Something begins at ``start``: look for its end. False if it is not known yet what it is."""
        # no test fails without this: byte by byte it is found, too
        if tag := TAG.match(self._kept, start):
            self._seen = tag.end()
            self._end(_TEXT)
            return True
        self._whole = start
        beginning = bytes(self._kept[start : start + len(b"<![CDATA[")])
        if beginning.startswith(b"<"):
            for opening, until in _OPENINGS.items():
                if beginning.startswith(opening):
                    self._seen = start + len(opening)
                    self._until = until
                    return True
                if opening.startswith(beginning):
                    self._seen = start
                    return False
            self._until = _TAG
        elif self._outside is _TEXT:
            self._until = _REFERENCE
        else:
            self._break()
        return True

    def _go_on(self, end: bytes) -> None:
        """Inside a token, or in a CDATA section, ``end`` was found."""
        until = self._until
        # Of text a parser may still have three bytes: half a character, or "]]". No token is shorter, so it looks again.
        if until is _SECTION or (end == _ENDS.get(until) and self._seen - self._whole >= len(b"<a>")):
            self._end(_TEXT if until is _TAG else self._outside)
        elif until is _TAG and end in _VALUES:
            self._until = _VALUES[end]
        elif until is _VALUES.get(end):
            self._until = _TAG
        else:
            self._break()

    def _end(self, outside: re.Pattern[bytes]) -> None:
        self._whole = self._seen
        self._until = self._outside = outside

    def _run_out(self) -> None:
        """No end is there. Text is whole wherever it is cut, unless that is within a character or the like."""
        size = len(self._kept)
        if self._until is self._outside or self._until is _SECTION:
            unfinished = _UNFINISHED.search(self._kept, max(self._seen, size - 3))  # a character has four bytes at most
            self._whole = self._seen = unfinished.start() if unfinished else size
        else:
            self._seen = max(self._seen, size - len(b"--"))

    def _break(self) -> None:
        self.broken = True
        self._whole = self._seen
