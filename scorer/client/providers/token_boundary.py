"""Finds where a continuation begins among the tokens of prompt and continuation, by the tokens' texts."""

from __future__ import annotations

from collections.abc import Sequence

UNREADABLE = "\ufffd"
"""How servers show a token that is a part of a character."""


def boundary(tokens: Sequence[str], prompt: str, continuation: str) -> int | None:
    """The index of the first token that holds any of the continuation's text; None where the texts do not tell.

    Counted from the end, because a prompt may begin with tokens that have no text of it, and over characters other than
    whitespace, because tokenisers differ in whether a token's text keeps its space. A part of a character is shown as
    U+FFFD, or as no text at all: by some servers in every token of the character, by others in all but the last of
    them, which then has it whole. So where the texts lack something, such tokens cover whatever lies between their
    legible neighbours, and where they lack nothing they belong to the character that ends after them. A token of
    whitespace alone between the two texts belongs to the prompt as far as the prompt's own trailing whitespace reaches.

    Over a complexity of 15: each tokeniser's way of showing a token is a case, and all share the walk from the end.
    """
    if tokens and not tokens[0] and not _squeeze(prompt):
        return 0  # what the first token holds is unknown, and no text of the prompt shows it
    rest = _squeeze(continuation)
    text, said = _squeeze(prompt) + rest, _squeeze("".join(tokens))
    hidden = text[: len(text) - len(said)] if tokens and not tokens[0] and text.endswith(said) else ""
    if not hidden.isascii() and not next((token for token in tokens[1:] if not token.isspace()), ""):
        return None  # held by the first token, or by parts of characters?
    whole = said.endswith(text) or bool(hidden)
    index = len(tokens)
    least: int | None = None  # the fewest characters of the gap right behind the token; None where there is none
    while rest:
        if index == 0:
            return None
        index -= 1
        text = _squeeze(tokens[index])
        if UNREADABLE in text:
            least = 1
        elif not tokens[index] and not whole:
            least = least or 0
        elif least is not None and text:
            at = rest.rfind(text, 0, len(rest) - least)
            if at < 0:  # the gap reaches back to the border: so this must be the prompt's last token
                if not _squeeze(prompt).endswith(text):
                    return None
                index += 1
                while tokens[index].isspace():
                    index += 1
                break
            rest, least = rest[:at], None
        elif rest.endswith(text):
            rest = rest[: len(rest) - len(text)]
        elif text.endswith(rest):
            rest = ""
        else:
            return None
    while whole and index > 1 and not tokens[index - 1]:
        index -= 1
    first = index
    while first > 0 and tokens[first - 1].isspace():
        first -= 1
    if first == 1 and not tokens[0] and _trailing(prompt):
        return 0  # how much of the whitespace the first token holds is unknown
    trailing = _trailing(prompt) - (_trailing(tokens[first - 1]) if first else 0)
    if trailing < 0:  # the space after the prompt ends a token of its own: one that straddles the border
        return first - 1
    while first < index and len(tokens[first]) <= trailing:
        trailing -= len(tokens[first])
        first += 1
    if first == 1 and not tokens[0] and not "".join(tokens[1:])[:1].isspace():
        return 0  # the space is nowhere to be seen: the response begins in the token whose text is unknown
    return first


def _trailing(text: str) -> int:
    return len(text) - len(text.rstrip())


def _squeeze(text: str) -> str:
    return "".join(text.split())
