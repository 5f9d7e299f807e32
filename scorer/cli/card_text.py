"""Rows as text to read in a terminal: a card for each, wrapped to its width, with control characters escaped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from scorer.cli.styles import Styles
from scorer.escapes import printable, printable_line
from scorer.report.prompt_names import is_prompt
from scorer.text_width import cells, cropped, wrapped

if TYPE_CHECKING:
    from scorer.report.page.row_list import Card, Text, Verdict

_NAME = 10
"""Columns for the names beside texts."""
_MEASURE = 100
"""Texts are wrapped to so many columns at most: longer lines are hard to read."""
_SHORT = 24
"""Replies of at most so many characters are counted in one line, where a row has several."""
_TAB = "    "


class CardText:
    """Writes cards for a terminal of `width` columns; 0 for no terminal, where no line is broken.

    `runs` are the names of the runs where there are several. With `full` all prompts of a row are shown, not the first.
    """

    def __init__(self, width: int, styles: Styles, runs: Sequence[str] = (), *, full: bool = False) -> None:
        self._styles, self._runs, self._all = styles, runs, full
        self._width = max(24, min(width, _MEASURE)) if width else 0

    def heading(self, title: str, rest: str) -> str:
        """A line above the cards of a pick."""
        lines = self._wrapped(printable_line(f"{title}: {rest}" if rest else title), self._width)
        return "\n".join(self._styles.bold(self._styles.accent(line)) for line in lines)

    def paragraph(self, text: str) -> str:
        """A sentence, dimmed."""
        return "\n".join(self._styles.dim(line) for line in self._wrapped(printable_line(text), self._width))

    def card(self, card: Card, beside: str = "", prompt: bool = True) -> str:
        """All of a row, without its `prompt` where that is False; `beside` says why it was picked."""
        lines = [self._rule(card, beside), *self._labels(card)]
        prompts = [name for name in card.texts if is_prompt(name)]
        left_out = prompts[0 if not prompt else len(prompts) if self._all else 1 :]
        for name, text in card.texts.items():
            lines += self._block(name, text) if name not in left_out else []
        lines += self._verdicts(card.verdicts)
        lines += self._facts(card)
        return "\n".join(lines)

    def again(self, card: Card, beside: str = "") -> str:
        """A row whose card stands above."""
        return f"{self._rule(card, beside)}\n{self._styles.dim('shown above')}"

    # --- the parts of a card ------------------------------------------------------------------------------------------

    def _rule(self, card: Card, beside: str) -> str:
        said = " · ".join(part for part in (f"row {card.id}", card.key, beside) if part)
        said = printable_line(said)
        if not self._width:
            return f"── {said} ──"
        said = cropped(said, self._width - 6)
        return f"── {self._styles.bold(said)} {'─' * max(0, self._width - cells(said) - 4)}"

    def _labels(self, card: Card) -> list[str]:
        score = None if card.score is None else f"{card.score:g}"
        pairs = [
            ("score", score), ("error", card.error), ("human", None if card.human is None else f"{card.human:g}"),
            ("system", card.system), ("task", card.task), ("item", card.item),
        ]  # fmt: skip
        lines: list[str] = []
        for said in (f"{name} {printable_line(value)}" for name, value in pairs if value is not None):
            if lines and (not self._width or cells(lines[-1]) + 3 + cells(said) <= self._width):
                lines[-1] += f"   {said}"
            else:
                lines += self._wrapped(said, self._width)
        return [self._styles.bold(line) for line in lines]

    def _block(self, name: str, text: Text) -> list[str]:
        """A text with its name above, behind a bar."""
        lines = [self._styles.accent(printable_line(name))]
        bar = self._styles.dim("│")
        lines += [f"{bar} {line}".rstrip() for line in self._lines(text, 2)]
        return lines

    def _verdicts(self, verdicts: Sequence[Verdict]) -> Iterator[str]:
        """The verdict of each run with its reason, and the replies that made it."""
        short = [one for one in verdicts if one.of.rpartition(": ")[2].startswith("sample") and _is_short(one)]
        if len(short) > 2:
            verdicts = [one for one in verdicts if one not in short]
        for n, verdict in enumerate(verdicts):
            whole = verdict.of in self._runs or (n == 0 and not self._runs)
            of = f"verdict of {verdict.of}" if whole else f"  {self._without_run(verdict.of)}"
            name = self._styles.accent(printable_line(of))
            yield f"{name}  {self._styles.bold(printable_line(verdict.value))}".rstrip()
            if verdict.reason is not None:
                yield from self._named("reason", verdict.reason)
            if verdict.raw is not None and not _repeats(verdict):
                yield from self._named("reply", verdict.raw)
        if len(short) > 2:
            counts = Counter(one.raw.head.strip() if one.raw is not None else "no reply" for one in short)
            said = ", ".join(f"{printable_line(text)} ×{count}" for text, count in counts.most_common())
            first, *rest = self._wrapped(f"  {len(short)} samples  {said}", self._width)
            yield self._styles.accent(first)
            yield from (f"    {self._styles.accent(line)}" for line in rest)

    def _named(self, name: str, text: Text) -> Iterator[str]:
        """A text beside its name."""
        for n, line in enumerate(self._lines(text, _NAME)):
            beside = f"  {'' if n else name}".ljust(_NAME)
            yield f"{self._styles.dim(beside)}{line}".rstrip()

    def _facts(self, card: Card) -> Iterator[str]:
        """The facts, those of each run by themselves."""
        for run in self._runs or [""]:
            mine = {name: value for name, value in card.facts.items() if not run or name.startswith(f"{run}: ")}
            said = "; ".join(f"{self._without_run(name)}: {value}" for name, value in mine.items())
            said = printable_line(f"{run}: {said}" if run else said)
            yield from (self._styles.dim(line) for line in self._wrapped(said, self._width) if mine)

    def _without_run(self, name: str) -> str:
        """A name without that of the run before it."""
        run = next((run for run in self._runs if name.startswith(f"{run}: ")), None)
        return name if run is None else name[len(run) + 2 :]

    # --- lines --------------------------------------------------------------------------------------------------------

    def _lines(self, text: Text, indent: int) -> Iterator[str]:
        """The lines of a text in what `indent` leaves of the width, with a line where characters are left out."""
        width = self._width and self._width - indent
        yield from self._paragraphs(text.head, width)
        if text.cut:
            yield from map(self._styles.dim, self._wrapped(f"… {text.cut:,} characters left out …", width))
            yield from self._paragraphs(text.tail, width)

    def _paragraphs(self, text: str, width: int) -> Iterator[str]:
        text = printable(text.strip("\n")).replace("\t", _TAB)
        for line in text.split("\n") if text else ["(empty)"]:
            yield from self._wrapped(line, width)

    @staticmethod
    def _wrapped(line: str, width: int) -> list[str]:
        return wrapped(line, width) if width else [line]


def _is_short(verdict: Verdict) -> bool:
    raw = verdict.raw
    return verdict.reason is None and (
        raw is None or (len(raw.head) <= _SHORT and not raw.cut and "\n" not in raw.head)
    )


def _repeats(verdict: Verdict) -> bool:
    """Whether a reply says no more than the verdict and its reason."""
    raw = verdict.raw
    return raw is not None and not raw.cut and raw.head.strip() == verdict.value
