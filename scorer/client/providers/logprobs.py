"""Requests the log-probabilities of a given text, in the way that the server supports:

    llamacpp   /tokenize the continuation, then let a token-level grammar allow nothing else (two calls)
    vllm       send prompt and continuation as one prompt and read `prompt_logprobs`
    openai     the same with `echo`, as the legacy completions do

The continuation follows the prompt after one space, which counts as its own. Where the server tokenises both as one
text, a token that holds any of the continuation's text belongs to the continuation, so one that straddles the border
does too. Nothing is ever cut: what does not fit is TooLong, and a text whose tokens cannot all be measured is Rejected.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, Literal, Protocol

from scorer.client.providers.complaints import parse
from scorer.client.providers.completions import billed, finite, read_logprobs, read_model, read_usage
from scorer.client.providers.token_boundary import UNREADABLE, boundary
from scorer.errors import Rejected, ServerFault, SetupError, TooLong
from scorer.types import Call, Completion, Reply, Request, TokenLogprob

Dialect = Literal["auto", "openai", "vllm", "llamacpp"]
Way = Generator[Call, Reply, Completion]

_COMPLETIONS = "/completions"
_NEEDED = (
    'likelihood needs a server that gives the log-probabilities of a given text: llama.cpp (dialect = "llamacpp"), '
    'vLLM\'s prompt_logprobs ("vllm"), or completions with echo and logprobs, as SGLang has ("openai")'
)


class Asker(Protocol):
    """What a provider gives: its calls, its reading of replies, and which way works."""

    base_url: str
    forcing: Forcing

    def call(self, path: str, body: Mapping[str, Any]) -> Call: ...
    def completion_body(self, fields: Mapping[str, Any]) -> dict[str, Any]: ...
    def choice(self, reply: Reply, path: str) -> tuple[dict[str, Any], dict[str, Any]]: ...
    def fault(self, reply: Reply, path: str) -> Exception: ...


class Forcing:
    """The way in which a server is asked; `proven` once it has answered."""

    __slots__ = ("dialect", "proven")

    def __init__(self, dialect: Dialect) -> None:
        self.dialect: Dialect = dialect
        self.proven = False


class _Unable(Exception):
    """The server lacks what this way needs."""


def converse(asker: Asker, request: Request) -> Way:
    """The completion whose log-probabilities are those of the continuation's tokens, one each.

    Raises: SetupError where the server can do it in no way; else as `Provider.converse`.
    """
    forcing = asker.forcing
    lacks = []
    for dialect in _WAYS if forcing.dialect == "auto" else (forcing.dialect,):
        try:
            completion = yield from _WAYS[dialect](asker, request)
        except _Unable as lack:
            lacks.append(str(lack))
            continue
        forcing.dialect, forcing.proven = dialect, True
        return completion
    lacking = "; ".join(lacks)
    if forcing.proven:  # it could before: the moment's fault, or a neighbour's behind the same address
        raise ServerFault(f"{asker.base_url}: {lacking}", billed=True)
    raise SetupError(f"{asker.base_url}: {lacking}. {_NEEDED}.")


def _llamacpp(asker: Asker, request: Request) -> Way:
    continuation = request.continuation or ""
    # parse_special: a "<|im_end|>" inside the response is text, no end of turn. with_pieces: see below.
    asked = {"content": f" {continuation}", "add_special": False, "parse_special": False, "with_pieces": True}
    ids = _token_ids(asker, (yield asker.call("/tokenize", asked)))
    fields = {
        "prompt": request.prompt,
        "grammar": "root ::= " + " ".join(f"<[{token}]>" for token in ids),
        "max_tokens": len(ids),
        "temperature": 0,
        "logprobs": 1,
        "seed": 0,
        "cache_prompt": True,
    }
    reply = yield asker.call(_COMPLETIONS, asker.completion_body(fields))
    if reply.status == 500 and b"grammar" in reply.body:
        raise Rejected("llama.cpp's token grammar cannot force this response (a control character, perhaps).")
    choice, value = _choice(asker, reply)
    with billed(value):
        return _forced(asker, continuation, ids, choice, value, reply)


def _forced(
    asker: Asker, continuation: str, ids: list[int], choice: Mapping[str, Any], value: Mapping[str, Any], reply: Reply
) -> Completion:
    """The completion of a reply that a token-level grammar forced."""
    shape = choice.get("logprobs")
    read = read_logprobs(shape)
    if not read or not isinstance(shape, dict):
        raise _Unable("/completions gave no log-probabilities")
    given = [entry.get("id") for entry in shape.get("content") or [{}] * len(read)]
    if len(given) == len(ids) + 1:  # the end-of-text token after the last one
        given, read = given[:-1], read[:-1]
    if len(given) < len(ids) and given == ids[: len(given)] and choice.get("finish_reason") == "length":
        raise TooLong(f"The context was full after {len(given)} of the response's {len(ids)} tokens.")
    if given != ids:
        if not asker.forcing.proven and given[:1] != ids[:1]:
            raise _Unable("/completions did not follow a token-level grammar")
        raise ServerFault(f"{asker.base_url}: the reply's tokens are not those that were forced", billed=True)
    return _completion(continuation, read, value, reply)


def _token_ids(asker: Asker, reply: Reply) -> list[int]:
    value = parse(reply.body)
    tokens = value.get("tokens") if isinstance(value, dict) else None
    if reply.status != 200 or not isinstance(tokens, list):
        # vLLM, SGLang and TGI have a /tokenize of their own, which calls this question wrong.
        momentary = reply.status in (200, 408, 409, 425, 429) or reply.status >= 500
        raise asker.fault(reply, "/tokenize") if momentary else _Unable(f"no llama.cpp /tokenize ({reply.status})")
    if tokens and all(isinstance(token, dict) for token in tokens):
        # A piece that is no text is a part of a character. llama.cpp leaves such tokens out of its log-probabilities,
        # and a mean over the others would flatter every emoji.
        parts = sum(not isinstance(token.get("piece"), str) for token in tokens)
        if parts:
            raise Rejected(
                f"{parts} of the response's {len(tokens)} tokens are parts of a character (an emoji, a script rare to "
                "this model), for which llama.cpp reports no log-probability."
            )
        tokens = [token.get("id") for token in tokens]
    if not tokens or not all(type(token) is int for token in tokens):
        raise ServerFault(f"{asker.base_url}: /tokenize answered without token ids")
    return tokens


def _vllm(asker: Asker, request: Request) -> Way:
    continuation = request.continuation or ""
    text = f"{request.prompt} {continuation}"
    fields = {"prompt": text, "max_tokens": 1, "temperature": 0, "prompt_logprobs": 0}
    reply = yield asker.call(_COMPLETIONS, asker.completion_body(fields))
    choice, value = _choice(asker, reply)
    with billed(value):
        return _prompted(request.prompt, continuation, choice, value, reply)


def _prompted(
    prompt: str, continuation: str, choice: Mapping[str, Any], value: Mapping[str, Any], reply: Reply
) -> Completion:
    """The completion of a reply with `prompt_logprobs`."""
    entries = choice.get("prompt_logprobs")
    if not isinstance(entries, list) or not entries:
        raise _Unable("/completions gave no prompt_logprobs")
    tokens, logprobs = [], []
    for entry in entries:
        # {token id: {"logprob", "rank", "decoded_token"}}, the prompt's own token first; null for the very first.
        own = next(iter(entry.values()), None) if isinstance(entry, dict) else None
        own = own if isinstance(own, dict) else {}
        decoded = own.get("decoded_token")
        tokens.append(decoded if isinstance(decoded, str) else "" if entry is None else UNREADABLE)
        logprobs.append(finite(own.get("logprob")))
    start = boundary(tokens, prompt, continuation)
    if start is None:
        raise Rejected("The texts of the server's tokens do not tell where the response begins.")
    return _completion(continuation, _measured(tokens[start:], logprobs[start:]), value, reply)


def _openai(asker: Asker, request: Request) -> Way:
    continuation = request.continuation or ""
    text = f"{request.prompt} {continuation}"
    # One token is generated and dropped, and one alternative asked: 0 is refused here and read as "none" there.
    fields = {"prompt": text, "max_tokens": 1, "temperature": 0, "echo": True, "logprobs": 1}
    reply = yield asker.call(_COMPLETIONS, asker.completion_body(fields))
    choice, value = _choice(asker, reply)
    with billed(value):
        return _echoed(asker, request, text, choice, value, reply)


def _echoed(
    asker: Asker, request: Request, text: str, choice: Mapping[str, Any], value: Mapping[str, Any], reply: Reply
) -> Completion:
    """The completion of a reply with echoed log-probabilities."""
    continuation = request.continuation or ""
    shape = choice.get("logprobs")
    names = ("tokens", "token_logprobs", "text_offset")
    tokens, values, offsets = (shape.get(name) if isinstance(shape, dict) else None for name in names)
    if not (isinstance(tokens, list) and isinstance(values, list) and isinstance(offsets, list)) or offsets[:1] != [0]:
        raise _Unable("/completions gave no echoed log-probabilities")
    if not len(tokens) == len(values) == len(offsets) or not all(type(offset) is int for offset in offsets):
        raise ServerFault(f"{asker.base_url}: the lists of echoed log-probabilities do not match", billed=True)
    texts = [str(token) for token in tokens]
    if any(token.startswith("bytes:") for token in texts):  # "bytes:\\xf0": how OpenAI writes a part of a character
        ends = [*offsets[1:], len(text) + 1]
        border = len(request.prompt)
        held = [i for i, at in enumerate(offsets) if at < len(text) and (at >= border or ends[i] > border)]
    else:
        # vLLM counts "<s>" among the characters and leaves out what its tokens' texts lack, so its offsets drift.
        usage = read_usage(value.get("usage"))
        made = (1, 0) if usage is None else (usage.completion_tokens,)
        ends = [len(texts) - count for count in made]
        starts = [boundary(texts[:end], request.prompt, continuation) for end in ends]
        held = next((list(range(s, end)) for s, end in zip(starts, ends, strict=True) if s is not None), [])
    if not held:
        raise Rejected("The texts of the server's tokens do not tell where the response begins.")
    return _completion(
        continuation, _measured([texts[i] for i in held], [finite(values[i]) for i in held]), value, reply
    )


_WAYS: dict[Dialect, Callable[[Asker, Request], Way]] = {"llamacpp": _llamacpp, "vllm": _vllm, "openai": _openai}


def _choice(asker: Asker, reply: Reply) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        return asker.choice(reply, _COMPLETIONS)
    except Rejected as error:
        if asker.forcing.proven or asker.forcing.dialect != "auto":
            raise
        raise _Unable(f"/completions refused it ({error.detail})") from None
    except (SetupError, ServerFault) as error:
        if reply.status in (400, 404, 405, 422, 501):
            raise _Unable(str(error)) from None
        raise


def _measured(tokens: Sequence[str], logprobs: Sequence[float | None]) -> tuple[TokenLogprob, ...]:
    read = [TokenLogprob(token, value) for token, value in zip(tokens, logprobs, strict=True) if value is not None]
    if not read or len(read) < len(tokens):
        raise Rejected("The server gave no log-probability for one of the response's tokens; is the prompt empty?")
    return tuple(read)


def _completion(text: str, read: Sequence[TokenLogprob], value: Mapping[str, Any], reply: Reply) -> Completion:
    return Completion(
        text=text,
        model=read_model(value),
        usage=read_usage(value.get("usage")),
        logprobs=tuple(TokenLogprob(one.token, one.logprob) for one in read),
        body=reply.body,
    )
