"""The removal of secrets from a body, before anything of it is written.

The body keeps its bytes except for the removed parts, so a reply still has its events, its chunks
and its spelling. A removed part becomes a mark with its kind, as `[removed:github_token]`; of a
part that arrived in several pieces the first becomes the mark, and the others become empty. Files
in base64 become their size.

Invariant: valid JSON stays valid JSON, and a second removal changes nothing.
"""

from __future__ import annotations

import base64
import binascii
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from shared.captures.patterns import (
    BLOB,
    ENCODED,
    MARK_START,
    RULES,
    FoundSecret,
    SecretRule,
    find_secrets,
    rules_for_known,
)
from shared.captures.views import STRING, View, depths, places_below, texts_of_stream

LONGEST_ENCODED = 16 * 1024  # characters of base64 that are decoded; longer ones are files
# Opaque texts of the vendors, which a later request must repeat: no files, and no secrets.
KEPT_BLOB = re.compile(
    r'(?:"(?:signature|encrypted_content|thought_signature)"|redacted_thinking"[^{}]*"data")'
    r'\s*:\s*"$'
)
BEFORE_BLOB = 120  # characters before a run of base64 that say what it is
CUT_WORD = re.compile(r'[^\s"\\]{1,8192}$')


@dataclass(frozen=True, slots=True)
class Edit:
    """The replacement of a part of a text by `mark`."""

    start: int
    end: int
    mark: str


@dataclass(slots=True)
class Redacted:
    """A body without its secrets. `removed` counts the removed parts by kind."""

    body: bytes
    removed: Counter[str]
    _passes: list[list[Edit]] = field(default_factory=list)

    def moved(self, offset: int) -> int:
        """Return the place in the new body of the place `offset` in the old body; a place inside a
        removed part moves behind the part's mark.
        """
        for edits in self._passes:
            offset = _moved(edits, offset)
        return offset


def redact(
    body: bytes, *, is_stream: bool = False, is_cut: bool = False, known: Sequence[str] = ()
) -> Redacted:
    """Return `body` without secrets. `known` are credentials to remove everywhere; `is_cut` marks a
    body with a missing end, where the last word may be a part of a secret.
    """
    # One character for each byte: the rules look for ASCII, and every place is a byte's.
    text = body.decode("latin-1")
    counted: Counter[str] = Counter()
    passes: list[list[Edit]] = []
    for find in (_blobs, _Secrets(known, is_stream=is_stream, is_cut=is_cut)):
        edits = merged_edits(find(text))
        counted.update(_kind_of(edit.mark) for edit in edits if edit.mark)
        passes.append(edits)
        text = _applied(text, edits)
    return Redacted(text.encode("latin-1"), counted, passes)


def redact_text(text: str, known: Sequence[str] = ()) -> str:
    """Return a header, an address or another short text without secrets."""
    return redact(text.encode("utf-8", "replace"), known=known).body.decode("utf-8", "replace")


def merged_edits(edits: Iterator[Edit]) -> list[Edit]:
    """Return the edits in order, overlapping edits merged under the first mark."""
    found: list[Edit] = []
    for edit in sorted(edits, key=lambda each: (each.start, -each.end)):
        if found and edit.start < found[-1].end:
            last = found[-1]
            found[-1] = Edit(last.start, max(last.end, edit.end), last.mark or edit.mark)
        else:
            found.append(edit)
    return found


def _applied(text: str, edits: list[Edit]) -> str:
    pieces: list[str] = []
    done = 0
    for edit in edits:
        pieces += (text[done : edit.start], edit.mark)
        done = edit.end
    return "".join((*pieces, text[done:]))


def _moved(edits: list[Edit], offset: int) -> int:
    at = bisect_right(edits, offset, key=lambda edit: edit.start)
    shift = sum(len(edit.mark) - (edit.end - edit.start) for edit in edits[:at])
    if at and offset < edits[at - 1].end:
        return edits[at - 1].end + shift
    return offset + shift


def _kind_of(mark: str) -> str:
    return mark.removeprefix(MARK_START).rstrip("]").partition(":")[0]


def _mark(kind: str) -> str:
    return f"{MARK_START}{kind}]"


def _blobs(text: str) -> Iterator[Edit]:
    for found in BLOB.finditer(text):
        start = found.start()
        if KEPT_BLOB.search(text[max(0, start - BEFORE_BLOB) : start]):
            continue
        size = len(found[0].rstrip("=")) * 3 // 4
        yield Edit(_before_escape(text, start), found.end(), f"{MARK_START}base64:{size} bytes]")


@dataclass(frozen=True, slots=True)
class _Secrets:
    """The search for secrets in a text of bytes."""

    known: Sequence[str]
    is_stream: bool
    is_cut: bool

    def __call__(self, text: str) -> Iterator[Edit]:
        rules = (*RULES, *rules_for_known(self.known))
        is_json = self.is_stream or text.lstrip()[:1] in {"{", "["}
        surface = [rule for rule in rules if not (rule.plain and is_json)]
        for start, end, kind in _found(text, surface):
            yield Edit(_before_escape(text, start), end, _mark(kind))
        for token in STRING.finditer(text):
            if "\\" in token[1]:
                yield from _below(token[1], rules, token.start(1))
        if self.is_stream:
            for view in texts_of_stream(text):
                yield from _in_view(view, rules)
        if self.is_cut and (word := CUT_WORD.search(text, max(0, len(text) - 8192))):
            yield Edit(_before_escape(text, word.start()), word.end(), _mark("cut_word"))


def _below(text: str, rules: Sequence[SecretRule], base: int) -> Iterator[Edit]:
    """Yield the edits for secrets below the surface of `text`, a JSON string from `base` on."""
    for deeper, chain in depths(text):
        for start, end, kind in _found(deeper, rules):
            spans = places_below(chain, start, end)
            yield from _edits([(base + first, base + last) for first, last in spans], kind)


def _in_view(view: View, rules: Sequence[SecretRule]) -> Iterator[Edit]:
    """Yield the edits for secrets in a text put together from pieces."""
    for start, end, kind in _found(view.text, rules):
        yield from _edits(view.spans(start, end), kind)
    for deeper, chain in depths(view.text):
        for start, end, kind in _found(deeper, rules):
            yield from _edits(places_below([*chain, view], start, end), kind)


def _edits(spans: list[tuple[int, int]], kind: str) -> Iterator[Edit]:
    for at, (start, end) in enumerate(spans):
        yield Edit(start, end, "" if at else _mark(kind))


def _found(text: str, rules: Sequence[SecretRule]) -> Iterator[FoundSecret]:
    """Yield the secrets in plain text, also secrets in base64."""
    yield from find_secrets(text, rules)
    for run in ENCODED.finditer(text):
        if run.end() - run.start() <= LONGEST_ENCODED and _hides_secret(run[0]):
            yield FoundSecret(*run.span(), "encoded_secret")


def _hides_secret(encoded: str) -> bool:
    """Return True if base64 hides a text with a secret."""
    plain = encoded.rstrip("=").translate(str.maketrans("-_", "+/"))
    try:
        decoded = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        return False
    text = decoded.decode("latin-1")
    # Random bytes are no text; a rule would find something in them sooner or later.
    if not all(char.isprintable() or char in "\r\n\t" for char in text):
        return False
    return any(True for _ in find_secrets(text, RULES))


def _before_escape(text: str, start: int) -> int:
    """Return `start`, or the place of the backslash if `start` is inside an escape."""
    backslashes = 0
    while start - backslashes > 0 and text[start - backslashes - 1] == "\\":
        backslashes += 1
    return start - backslashes % 2
