"""LikeVllm: a fake of vLLM's /v1/completions, strict about what it is asked, that knows the truth about every token.

It imitates what a likelihood meets there: prompt log-probabilities with null first and each token's own entry before
the likelier ones; echo whose offsets count "<s>" and whatever its tokens' texts lack; tokens that straddle the border
of two texts; characters in several tokens, shown in three ways.
"""

from __future__ import annotations

import hashlib
from typing import Any

import orjson

from scorer.types import Call, Reply

MODEL = "like-vllm"
MERGED = ["<s>", " a", " b", "ab", " ab", ".\n", "\n ", "  ", "é", " é", "a ", "so", " so"]
VOCABULARY = [
    *(text.encode() for text in MERGED),
    "🦙".encode()[:2],
    b" " + "🦙".encode()[:2],
    *(bytes([byte]) for byte in range(256)),
]
TAKEN = {"model", "prompt", "max_tokens", "temperature", "prompt_logprobs", "echo", "logprobs", "seed"}


class LikeVllm:
    """Answers a `Call`. `shown` is how a part of a character is decoded.

    corrected (newer vLLM): the last part has the whole character, the others no text; blank (older): none has any;
    replacement: U+FFFD.
    """

    def __init__(self, shown: str = "corrected", *, begins: bool = True, context: int = 4000) -> None:
        self.shown = shown
        self.begins = begins
        self.context = context

    def post(self, call: Call) -> Reply:
        if call.url != "http://vllm/v1/completions":
            return _error(404, "Not Found", "NotFoundError")
        asked = orjson.loads(call.body)
        wrong = self._wrong(asked)
        if wrong:
            return _error(400, wrong, "BadRequestError")
        ids = self.ids(asked["prompt"])
        choice: dict[str, Any] = {"index": 0, "text": " a", "logprobs": None, "finish_reason": "length"}
        choice |= {"stop_reason": None, "token_ids": None, "prompt_logprobs": None, "prompt_token_ids": None}
        if "prompt_logprobs" in asked:
            choice["prompt_logprobs"] = self._prompt_logprobs(ids, asked["prompt_logprobs"])
        if asked.get("echo"):
            choice["text"] = asked["prompt"] + " a"
            choice["logprobs"] = self._echoed([*ids, VOCABULARY.index(b" a")])
        usage = {"prompt_tokens": len(ids), "total_tokens": len(ids) + 1, "completion_tokens": 1}
        body = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": MODEL, "choices": [choice]}
        return Reply(200, {"content-type": "application/json"}, orjson.dumps(body | {"usage": usage}))

    # --- the truth ----------------------------------------------------------------------------------------------------

    def ids(self, text: str) -> list[int]:
        """The longest token each time, behind "<s>" where the tokeniser begins so."""
        data, ids = text.encode(), [0] * self.begins
        while data:
            found = max((token for token in VOCABULARY[1:] if data.startswith(token)), key=len)
            ids.append(VOCABULARY.index(found))
            data = data[len(found) :]
        return ids

    def own(self, prompt: str, continuation: str) -> list[int]:
        """The places of the tokens that hold any byte of the space and the continuation."""
        ids = self.ids(f"{prompt} {continuation}")
        border, at, held = len(prompt.encode()), 0, []
        for place, token in enumerate(ids):
            at += 0 if place == 0 and self.begins else len(VOCABULARY[token])
            if at > border:
                held.append(place)
        return held

    def truth(self, prompt: str, continuation: str) -> list[float]:
        """Their log-probabilities, whether the server tells them (place 0 has none) or not."""
        ids = self.ids(f"{prompt} {continuation}")
        return [self.logprob(ids, place) for place in self.own(prompt, continuation)]

    @staticmethod
    def logprob(ids: list[int], place: int) -> float:
        digest = hashlib.sha256(repr(ids[: place + 1]).encode()).digest()
        # What has no probability at all comes as -9999: JSON has no infinity.
        return -9999.0 if digest[0] == 0 else -int.from_bytes(digest[:2]) / 4096

    # --- the replies --------------------------------------------------------------------------------------------------

    def _wrong(self, asked: dict[str, Any]) -> str:
        if unknown := asked.keys() - TAKEN:
            return f"Extra inputs are not permitted: {sorted(unknown)}"
        if asked.get("model") != MODEL:
            return f"The model `{asked.get('model')}` does not exist."
        if not isinstance(asked.get("prompt"), str) or not asked["prompt"]:
            return "Either prompt or prompt_embeds must be provided and non-empty."
        for name in ("prompt_logprobs", "logprobs"):
            value = asked.get(name, 0)
            if type(value) is not int or not 0 <= value <= 20:
                return f"`{name}` must be a non-negative value of at most 20."
        if asked.get("echo") and "logprobs" not in asked:
            return "`echo` without `logprobs` tells nothing."
        if asked.get("max_tokens") != 1:
            return "max_tokens must be 1 here."
        count = len(self.ids(asked["prompt"]))
        if count + 1 > self.context:
            return (
                f"This model's maximum context length is {self.context} tokens. However, you requested {count + 1} "
                f"tokens ({count} in the messages, 1 in the completion). Please reduce the length of the messages."
            )
        return ""

    def _text(self, ids: list[int], place: int) -> str:
        token = VOCABULARY[ids[place]]
        alone = token.decode(errors="replace")
        if not alone.endswith("\ufffd") or self.shown == "replacement":
            return alone
        if self.shown == "blank":
            return ""
        for begun in range(place - 1, max(-1, place - 5), -1):
            joined = b"".join(VOCABULARY[one] for one in ids[begun : place + 1]).decode(errors="replace")
            if not joined.endswith("\ufffd"):
                clean = place
                while clean > begun and VOCABULARY[ids[clean - 1]].decode(errors="replace").endswith("\ufffd"):
                    clean -= 1
                before = b"".join(VOCABULARY[one] for one in ids[begun:clean]).decode(errors="replace")
                return joined.removeprefix(before)
        return ""

    def _prompt_logprobs(self, ids: list[int], most: int) -> list[dict[str, Any] | None]:
        entries: list[dict[str, Any] | None] = [None]
        for place in range(1, len(ids)):
            own = {"logprob": self.logprob(ids, place), "rank": 9, "decoded_token": self._text(ids, place)}
            likelier = {
                str(token): {"logprob": -0.5, "rank": token, "decoded_token": "a"} for token in range(1, most + 1)
            }
            entries.append({str(ids[place]): own, **likelier, str(ids[place]): own})
        return entries

    def _echoed(self, ids: list[int]) -> dict[str, Any]:
        tokens = [self._text(ids, place) for place in range(len(ids))]
        offsets, at = [], 0
        for token in tokens:
            offsets.append(at)
            at += len(token)
        values = [None, *(self.logprob(ids, place) for place in range(1, len(ids)))]
        tops = [None, *({token: value} for token, value in zip(tokens[1:], values[1:], strict=True))]
        return {"text_offset": offsets, "token_logprobs": values, "tokens": tokens, "top_logprobs": tops}


def _error(status: int, message: str, kind: str) -> Reply:
    return Reply(status, {}, orjson.dumps({"error": {"message": message, "type": kind, "param": None, "code": status}}))
