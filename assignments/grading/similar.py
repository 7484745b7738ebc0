"""Notebooks that are more alike than work done apart: winnowing without the winnow, on tokens.

A notebook is the set of all runs of `LENGTH` tokens in its code, where comments, layout and the names that
students choose do not count. Runs that were handed out, or that many have, say nothing and are left out
(S. Schleimer, D. Wilkerson, A. Aiken, "Winnowing: local algorithms for document fingerprinting", 2003).
"""

import io
import keyword
import tokenize
from collections import Counter
from collections.abc import Iterator
from itertools import combinations

LENGTH = 10  # tokens
LEAST = 20  # runs of one's own, below which two notebooks are alike by chance
SILENT = {
    *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.ENCODING, tokenize.ENDMARKER),
    *(tokenize.INDENT, tokenize.DEDENT),
}


def similar(
    codes: dict[str, list[str]], given: tuple[str, ...], *, least: float = 0.7
) -> list[tuple[str, str, float]]:
    """Pairs of notebooks, and the part of the smaller one's runs that the other one has, the largest first."""
    names = {token for source in given for token in _words(source) if token.isidentifier()}
    handed_out = set(_runs(given, names))
    runs = {name: set(_runs(cells, names)) - handed_out for name, cells in codes.items()}
    have = Counter(run for own in runs.values() for run in own)
    common = {run for run, count in have.items() if count > max(10, len(codes) / 4)}
    runs = {name: own - common for name, own in runs.items() if len(own - common) >= LEAST}
    pairs = [
        (one, other, len(runs[one] & runs[other]) / min(len(runs[one]), len(runs[other])))
        for one, other in combinations(sorted(runs), 2)
    ]
    return sorted((pair for pair in pairs if pair[2] >= least), key=lambda pair: -pair[2])


def _runs(cells: list[str] | tuple[str, ...], names: set[str]) -> Iterator[tuple[str, ...]]:
    """Each run of tokens; a name that neither the handout nor a library gave is a `_`."""
    for source in cells:
        words, before = [], ""
        for word in _words(source):
            chosen = word.isidentifier() and not keyword.iskeyword(word)
            words.append("_" if chosen and before != "." and word not in names else word)
            before = word
        yield from (tuple(words[i : i + LENGTH]) for i in range(len(words) - LENGTH + 1))


def _words(source: str) -> list[str]:
    """The tokens of a cell, as far as it is Python; a string is a string, whatever it says."""
    words = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type not in SILENT:
                words.append('""' if token.type == tokenize.STRING else token.string)
    except (tokenize.TokenError, SyntaxError):
        pass
    return words
