"""Which of two? A judge's choice out of its text: "Verdict: B", "[[A]]", "Output (a) is better.", "tie".

Reads as `reading` does: what is called a verdict comes before what is merely said; two different verdicts are none.
A label of one letter needs more care than a word: "A" is also an article, and "A: ... B: ..." opens a list.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from scorer.judges.reading import Verdict, find, read_ends
from scorer.judges.scales import Labels, plain

VALUES = (1.0, 0.0, 0.5)
"""What the first label, the second and the third (a tie) are worth: the preference for the first response."""

_NOUNS = ("output", "response", "answer", "assistant", "model", "option", "candidate", "summary", "text", "completion")
_NOUN = f"(?:{'|'.join(_NOUNS)})"
# After "A" these make it a name, any other word an article.
_AFTER_A_NAME = r"(?:is|was|would|wins?|because|since|as|for|due|over|and|but|with|by)"
# "Evaluation of Response A" is about A, not for it.
_ABOUT = r"\b(?:evaluations?|assessments?|judge?ments?|scores?|ratings?|grades?) (?:of|for|by|from) (?:the )?"
# In this and the two below, group 1 is a letter that is no verdict.
_ARTICLE = re.compile(rf"\b{_NOUN} {{0,20}}\(?A\b|\b(A)(?= {{1,20}}(?!{_AFTER_A_NAME}\b)[a-z])", re.IGNORECASE)


class Choice:
    """Reads one of two or three `labels`: for the first response shown, for the second, for a tie.

    A label of one character is also found behind a noun or in parentheses: "Response A", "Output (a)", "(A)".
    """

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = dict(zip(labels, VALUES, strict=False))
        self._spelled = {plain(label) for label in labels}
        short = [label for label in labels if len(label) == 1]
        self._letters = {label.casefold() for label in short}
        bare = self.labels | {f"({label})": self.labels[label] for label in short}
        named = {
            f"{noun} {form}": self.labels[label] for noun in _NOUNS for label in short for form in (label, f"({label})")
        }
        self._scale = Labels(bare | named)
        if short:
            # Mentioned in passing, only a name is a verdict: letters and "tie" are too common.
            self._scale.tiers = (*self._scale.tiers[:-1], Labels(named).tiers[-1])
        letters = "|".join(map(re.escape, short))
        self._about = re.compile(rf"{_ABOUT}(?:{_NOUN} )?\(?({letters})(?!\w)", re.IGNORECASE)
        self._heading = re.compile(
            rf"^[^\w\n]{{0,12}}(?:{_NOUN} )?\(?({letters})(?:\)?[*_ ]{{0,20}}[:.]|\)(?<!\(.\)))[*_]{{0,20}}"
            r"(?= {0,20}\S)",
            re.IGNORECASE | re.MULTILINE,
        )

    def find(self, text: str) -> Verdict | None:
        """The choice, as the preference for the first, and the place of its label in `text`."""
        verdict = find(self._labels_only(text), self._scale)
        if verdict is None or not self._letters or plain(text[verdict.start : verdict.end]) in self._spelled:
            return verdict
        # Where "Output (a)" was said, the letter's token is the one that tells.
        letter = max(at for at in range(verdict.start, verdict.end) if text[at].isalnum())
        return replace(verdict, start=letter, end=letter + 1)

    def _labels_only(self, text: str) -> str:
        """The text with spaces for letters that are no labels."""
        if not self._letters:
            return text
        text = self._about.sub(_blank, read_ends(text))
        if len({match[1].casefold() for match in self._heading.finditer(text)}) > 1:
            text = self._heading.sub(_blank, text)
        return _ARTICLE.sub(_blank, text) if "a" in self._letters else text


def _blank(match: re.Match[str]) -> str:
    if match[1] is None:
        return match[0]
    start, end = (at - match.start() for at in match.span(1))
    return match[0][:start] + " " * (end - start) + match[0][end:]
