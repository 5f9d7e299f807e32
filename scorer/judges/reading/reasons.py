"""Reads the reasons beside the verdicts of a reply: the one for all of them, or one for each criterion."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from scorer.judges.reading.json_verdicts import REASON_KEYS
from scorer.judges.reading.json_verdicts import key as normal
from scorer.judges.reading.labels import spelled
from scorer.judges.reading.phrases import plain
from scorer.judges.reading.reply_body import ReplyBody, Verdict, after_thought, read_ends
from scorer.patterns import pattern

_WORDS = "|".join(REASON_KEYS)
_REASON_LABEL = pattern(rf"^\W{{0,8}}(?:{_WORDS})\W{{0,4}}[:=]\s{{0,20}}", re.IGNORECASE)
_AROUND = " \t\r\n*-:;,.)|"
# "Rating" before [[4]], "My final verdict" before [[A]]
_LABEL_BEFORE = pattern(
    r"(?:\A|\n|(?<=[.!?]) )[^\w\n]{0,9}(?:my |the )?(?:final |overall )?(?:rating|score|verdict|decision|judge?ment)"
    r"(?: is)?\W{0,9}\Z",
    re.IGNORECASE,
)
_RESULT = "[RESULT]"


def find_reason(text: str, verdicts: Sequence[Verdict]) -> str | None:
    """What the reply says beside its verdicts: the reason in its JSON, else the prose around them; None if nothing."""
    for thing in ReplyBody(text, None).objects:
        for key, value in thing.content.items():
            if normal(key) in REASON_KEYS and isinstance(value, str):
                return value.strip() or None
    pieces, at = [], len(text) - len(after_thought(text))
    if (result := text.find(_RESULT, at)) >= 0:  # Prometheus: "Feedback: ... [RESULT] 4"
        return _REASON_LABEL.sub("", text[at:result].strip()) or None
    for verdict in sorted(verdicts, key=lambda v: v.opened):
        pieces.append(_LABEL_BEFORE.sub("", text[at : max(at, verdict.opened)]))
        at = max(at, verdict.closed)
    pieces.append(text[at:])
    kept = (_REASON_LABEL.sub("", piece.strip(_AROUND)) for piece in pieces)
    return "\n".join(filter(None, kept)) or None


def find_reasons(text: str, names: Sequence[str], verdicts: Mapping[str, Verdict]) -> dict[str, str]:
    """The reason for each criterion, where the reply gives one: in its JSON, in a line "wit reason: ...", or else in
    what follows the verdict in its line.
    """
    found = _in_json(text, names)
    if found:
        return found
    found = _in_lines(text, names)
    for name, verdict in verdicts.items():
        line = text[verdict.closed :].partition("\n")[0].strip(_AROUND)
        if name not in found and line:
            found[name] = line
    return found


def _in_json(text: str, names: Sequence[str]) -> dict[str, str]:
    """Reasons out of {"wit": {"score": 4, "reason": "..."}} or {"wit": 4, "wit_reason": "..."}."""
    known = {normal(name): name for name in names}
    found: dict[str, str] = {}
    for thing in ReplyBody(text, None).objects:
        for key, value in thing.content.items():
            name = known.get(normal(key))
            if name is not None and isinstance(value, dict):
                inner = [v for k, v in value.items() if normal(k) in REASON_KEYS and isinstance(v, str) and v.strip()]
                if inner:
                    found[name] = inner[0].strip()
            elif isinstance(value, str) and value.strip():
                first, _, last = normal(key).rpartition(" ")
                begin, _, rest = normal(key).partition(" ")
                name = known.get(first) if last in REASON_KEYS else known.get(rest) if begin in REASON_KEYS else None
                if name is not None:
                    found[name] = value.strip()
        if found:
            break
    return found


def _in_lines(text: str, names: Sequence[str]) -> dict[str, str]:
    """Reasons out of lines that begin with "wit reason:"; each goes on until a line begins with a criterion's name."""
    body = read_ends(text)[len(text) - len(after_thought(text)) :]
    listed = "|".join(
        re.escape(spelled(name)).replace(r"\ ", " {1,3}") for name in sorted(names, key=len, reverse=True)
    )
    opens = re.compile(
        rf"^[^\w\n]{{0,12}}(?P<name>{listed})[^\w\n:=]{{0,6}}(?P<why>{_WORDS})?(?: score| rating)?[^\w\n:=]{{0,6}}[:=]"
    )
    known = {spelled(name): name for name in names}
    found: dict[str, list[str]] = {}
    held: list[str] | None = None
    for line, flat in zip(body.split("\n"), plain(body).split("\n"), strict=True):
        match = opens.match(flat)
        if match is None:
            if held is not None:
                held.append(line.strip())
            continue
        held = found.setdefault(known[" ".join(match["name"].split())], []) if match["why"] else None
        if held is not None:
            held.append(line[match.end() :].strip(" \t\r*"))
    joined = {name: "\n".join(lines).strip() for name, lines in found.items()}
    return {name: reason for name, reason in joined.items() if reason}
