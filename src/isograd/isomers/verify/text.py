"""Texts as words, content words, n-gram hashes and templates without numbers and names."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Final

__all__ = ["EXAM_WORDS", "NUMBER_WORDS", "STOP_WORDS", "abstract", "content_words", "ngrams", "normalize", "words"]

# Letters with apostrophes inside, or digits with the separators inside and an ordinal's ending.
_TOKEN: Final = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*|\d+(?:[.,]\d+)*(?:(?:st|nd|rd|th)\b)?")


def _listed(text: str) -> frozenset[str]:
    return frozenset(text.split())


NUMBER_WORDS: Final = _listed(
    """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
    eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million billion
    first second third fourth fifth sixth seventh eighth ninth"""
)
"""Cardinals and the ordinals first to ninth, lower case."""

PRONOUNS: Final = _listed("he she his her him hers they them their theirs himself herself themselves themself")
"""The third-person pronouns, which change with the name that they stand for."""

STOP_WORDS: Final = _listed(
    """a about above across after again against all almost along already also although always am among an and another
    any anyone anything are aren't around as at away back be because been before behind being below between both but by
    can can't cannot could couldn't did didn't do does doesn't doing don't done down during each either else enough etc
    even ever every everyone everything few for from further had hadn't has hasn't have haven't having he he'd he'll
    he's hence her here hers herself him himself his how however i i'd i'll i'm i've if in inside instead into is isn't
    it it's its itself just least less let let's like many may me might mine more most much must mustn't my myself near
    neither never no nobody none nor not nothing now of off often on once only onto or other others otherwise ought our
    ours ourselves out outside over own per perhaps quite rather really same shall shan't she she'd she'll she's should
    shouldn't since so some somebody someone something soon still such than that that's the their theirs them themselves
    then there there's therefore these they they'd they'll they're they've this those though through thus to together
    too toward towards under unless until up upon us very via was wasn't we we'd we'll we're we've were weren't what
    what's when whenever where whereas whether which while who who's whole whom whose why will with within without won't
    would wouldn't yes yet you you'd you'll you're you've your yours yourself yourselves"""
)
"""English function words, lower case: what two texts share whatever they are about."""

EXAM_WORDS: Final = _listed(
    """answer answers appropriate best cause choice claim complete conclusion consider considered context correct
    correctly describe described describes diagnosis explain explains explanation false find findings following given
    infer inferred information know known likely management mean passage patient patient's possible provided question
    questions show shown statement statements step suitable symptoms total true value"""
)
"""The words in which exams ask, whatever they ask about."""

# Hashes are values of a polynomial over the field of this prime: they roll along a text in constant time a word.
_PRIME: Final = (1 << 61) - 1
_BASE: Final = 0x1B873593CC9E2D51 % _PRIME


def words(text: str) -> list[str]:
    """The words and numbers of a text, in order, as they are written.

    Unicode is brought to NFKC and curly apostrophes to straight ones first. A word keeps the apostrophes inside it
    (``don't``), a number its separators and ordinal ending (``1,234.5``, ``3rd``); everything else only divides.
    """
    return _TOKEN.findall(unicodedata.normalize("NFKC", text).replace("’", "'"))


def content_words(text: str) -> frozenset[str]:
    """The lower-case words of a text without stop words, numbers (digits or words) and possessive endings."""
    found = {word.removesuffix("'s") for word in words(text.lower()) if word not in STOP_WORDS}
    return frozenset(word for word in found - STOP_WORDS - NUMBER_WORDS if not word[0].isdigit())


def normalize(text: str) -> str:
    """The lower-case words of a text with single blanks between them; punctuation is dropped."""
    return " ".join(words(text.lower()))


def abstract(text: str) -> tuple[str, ...]:
    """The template of a text: what stays when numbers, names and pronouns are replaced.

    Returns:
        One token a word, lower case but for: ``#`` for a number (digits, number words, ordinals; "twenty-five" is
        one), ``@`` for a run of words with a capital, and ``~`` for a third-person pronoun. The first word of a
        sentence counts as a name too, so that replacing a name that stands there changes nothing.
    """
    template: list[str] = []
    last = ""
    for word in words(text):
        lower = word.lower()
        if lower in NUMBER_WORDS:
            if last == "#":
                continue
            last = "#"
        elif word[0].isdigit():
            last = "#"
        elif word[0].isupper():
            if last == "@":
                continue
            last = "@"
        elif lower in PRONOUNS or ("'" in lower and lower.partition("'")[0] in PRONOUNS):
            last = "~"
        else:
            last = lower
        template.append(last)
    return tuple(template)


# The cache holds the words of a large corpus and keeps the cost of a text at that of its arithmetic.
@lru_cache(maxsize=1 << 17)
def _word_hash(word: str) -> int:
    return int.from_bytes(blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big") % _PRIME


def ngrams(tokens: Sequence[str], n: int) -> Iterator[int]:
    """A hash of each run of ``n`` tokens, in order; none when there are fewer.

    Rolling polynomial hashes (Karp and Rabin, 1987) of BLAKE2b word hashes: below ``2**61`` and the same in every
    process. Two different runs collide with a probability of about ``n / 2**61``.

    Args:
        tokens: the words.
        n: how many make one gram, at least one.
    """
    hashes = [_word_hash(token) for token in tokens]
    if len(hashes) < n:
        return
    value = 0
    for entering in hashes[:n]:
        value = (value * _BASE + entering) % _PRIME
    yield value
    weight = pow(_BASE, n, _PRIME)
    for leaving, entering in zip(hashes, hashes[n:], strict=False):
        value = (value * _BASE + entering - leaving * weight) % _PRIME
        yield value
