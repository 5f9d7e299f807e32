"""`scorer.judge`: the table [judge] of a run file, made of Python functions."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from scorer.errors import SpecError
from scorer.judges.function_columns import columns_of
from scorer.judges.function_source import reference


class JudgeTable(dict[str, Any]):
    """The table [judge] of a run file, made by `scorer.judge`. Called, it is `prompt_function`."""

    def __init__(self, table: Mapping[str, Any], prompt_function: Callable[..., Any]) -> None:
        super().__init__(table)
        self.prompt_function = prompt_function

    def __call__(self, *arguments: Any) -> Any:
        return self.prompt_function(*arguments)


def judge(
    prompt_function: Callable[..., Any] | None = None,
    reply_function: Callable[[str], Any] | None = None,
    *,
    columns: Sequence[str] | None = None,
    scale: Sequence[float] | None = None,
    system: str | None = None,
    samples: int = 1,
    attempts: int = 3,
) -> Any:
    """A judge made of functions, for `judge=` of `score_frame` and for the table [judge] of `run`.

    `prompt_function` takes a row, a dict, and returns the prompt; `reply_function` takes the text of the reply and
    returns the score, or None where it has none. Without it, `prompt_function` is a generator function that yields each
    prompt, receives the reply, and returns the score. As a decorator, with or without options, it makes a judge of the
    function.

        judge = scorer.judge(lambda row: f"Rate from 1 to 5: {row['text']}", float)

    `columns` are the columns of the row; without it they are found in the source. `scale` bounds the score, `system` is
    the system message, `samples` replies are averaged, and an unreadable reply is asked for again, `attempts` times in
    all. The run's fingerprint covers the source of the functions, not of what they call. A run with several workers
    needs functions that can be imported from a module.
    Raises SpecError where the functions are none, or their columns cannot be found.
    """
    if prompt_function is None:
        return partial(
            judge,
            reply_function=reply_function,
            columns=columns,
            scale=scale,
            system=system,
            samples=samples,
            attempts=attempts,
        )
    if not callable(prompt_function) or not (reply_function is None or callable(reply_function)):
        raise SpecError(["scorer.judge takes functions: row -> prompt, and reply -> score."])
    if reply_function is None and not inspect.isgeneratorfunction(prompt_function):
        raise SpecError(
            [
                "scorer.judge needs a second function, reply -> score; or one generator function, which yields the "
                "prompt and returns the score: reply = yield prompt."
            ]
        )
    read = tuple(columns) if columns is not None else columns_of(prompt_function)
    if read is None:
        raise SpecError(
            [
                f"The columns that {getattr(prompt_function, '__qualname__', prompt_function)} reads cannot be told "
                'from its source: use row["name"] in it, or give columns=[...].'
            ]
        )
    options = {"scale": scale, "system": system, "samples": samples, "attempts": attempts}
    defaults = {"scale": None, "system": None, "samples": 1, "attempts": 3}
    return JudgeTable(
        {
            "kind": "function",
            "prompt_function": reference(prompt_function),
            **({} if reply_function is None else {"reply_function": reference(reply_function)}),
            "columns": list(read),
            **{name: value for name, value in options.items() if value != defaults[name]},
        },
        prompt_function,
    )
