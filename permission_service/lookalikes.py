"""Names that look like other names: hosts in foreign scripts, and words that mix scripts. Pure.

A Cyrillic letter in `example.com` makes another host that looks the same. A host is therefore also
shown in Punycode, the form in which it is looked up, and a word is named when it mixes the Latin
script with one that has look-alikes.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from urllib.parse import urlsplit

from shared.runtime.visible_text import visible_line

URL = re.compile(r"https?://[^\s'\"<>|;&)]+", re.IGNORECASE)
URLS_LOOKED_AT = 50
WORD = re.compile(r"\w+")
WORDS_LOOKED_AT = 5_000
WORDS_NAMED = 3
WORD_LENGTH_NAMED = 40
FOREIGN_SCRIPTS = frozenset({"CYRILLIC", "ARMENIAN", "CHEROKEE", "COPTIC", "LISU"})
# Greek letters stand beside Latin ones in formulas, so only those count that look like Latin ones.
GREEK_LOOKALIKES = frozenset("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧονυ")


def punycode(host: str) -> str:
    """Return `host` in the form of a look-up: `xn--…` for each label beyond ASCII. Never raises."""
    labels = unicodedata.normalize("NFKC", host).lower().replace("。", ".").split(".")
    return ".".join(label if label.isascii() else "xn--" + encoded(label) for label in labels)


def encoded(label: str) -> str:
    """Return a label of a host in the Punycode of RFC 3492, without the prefix."""
    return label.encode("utf-8", "replace").decode().encode("punycode").decode("ascii")


def host_in(url: str) -> str:
    """Return the host in `url`, as written; an empty text when there is none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def url_warnings(text: str) -> list[str]:
    """Return a sentence for every address in `text` with a deceptive host."""
    found: list[str] = []
    for place, match in enumerate(URL.finditer(text)):
        if place >= URLS_LOOKED_AT:
            break
        host = host_in(match[0])
        if host and punycode(host) != host:
            found.append(
                f"The host {visible_line(host)} is in fact {visible_line(punycode(host))}."
            )
        authority = match[0].partition("://")[2].partition("/")[0]
        if "@" in authority and host:
            found.append(
                "What stands before the @ is no host: the address leads to "
                f"{visible_line(punycode(host))}."
            )
    return list(dict.fromkeys(found))


def mixed_words(text: str) -> list[str]:
    """Return the first words of `text` with Latin letters and look-alikes of another script."""
    if text.isascii():
        return []
    return list(dict.fromkeys(_mixed_words(text)))[:WORDS_NAMED]


def _mixed_words(text: str) -> Iterator[str]:
    looked_at = 0
    for match in WORD.finditer(text):
        word = match[0][: 4 * WORD_LENGTH_NAMED]
        if word.isascii():
            continue
        looked_at += 1
        if looked_at > WORDS_LOOKED_AT:
            return
        latin = any("a" <= letter <= "z" for letter in word.lower())
        if (latin and any(map(is_lookalike, word))) or is_styled(word):
            yield word[:WORD_LENGTH_NAMED]


def is_styled(word: str) -> bool:
    """Return True for non-ASCII forms of ASCII letters, as full-width or mathematical letters."""
    foreign = "".join(letter for letter in word if not letter.isascii())
    return foreign.isalpha() and unicodedata.normalize("NFKC", foreign).isascii()


def is_lookalike(letter: str) -> bool:
    """Return True for a non-Latin letter that resembles a Latin letter."""
    if letter.isascii():
        return False
    script = unicodedata.name(letter, "").partition(" ")[0]
    return script in FOREIGN_SCRIPTS or letter in GREEK_LOOKALIKES


def word_warnings(text: str) -> list[str]:
    """Return a sentence with the names of the words of `text` with look-alike letters, if any."""
    words = mixed_words(text)
    if not words:
        return []
    spelled = ", ".join(f"“{visible_line(word)}” ({spell(word)})" for word in words)
    return [f"Letters that look like others: {spelled}."]


def spell(word: str) -> str:
    r"""Return `word` with letters beyond ASCII as code points, as in `p\u0430y`."""
    return word.encode("ascii", "backslashreplace").decode()
