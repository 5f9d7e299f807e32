"""`model.reasoning` in each dialect's words, and the output tokens that it may take.

A level that a server refuses is asked in its next form; the last one leaves it to the model.

Sources: OpenAI, "Reasoning models" (`reasoning_effort`, `reasoning`); Anthropic, "Extended thinking" and "Adaptive
thinking"; Amazon Bedrock, "Extended thinking"; Google, "OpenAI compatibility" (1,024, 8,192 and 24,576 tokens for low,
medium and high); OpenRouter, "Reasoning tokens"; DeepSeek, "Thinking mode"; vLLM, "Reasoning outputs"; llama.cpp,
server README (`chat_template_kwargs`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from scorer.patterns import pattern

Level = Literal["none", "minimal", "low", "medium", "high"]
Reasoning = Level | int | None
"""A level, a number of tokens, or None: as the model does by itself."""
Fields = Mapping[str, Any]
"""Fields of a request body."""

TOKENS: dict[str, int] = {"none": 0, "minimal": 1024, "low": 4096, "medium": 8192, "high": 24576}
"""The output tokens that are set aside for a level of reasoning."""
_LEAST_BUDGET = 1024  # Anthropic's
_NEXT: dict[str, tuple[str, ...]] = {"none": ("none", "minimal", "low"), "minimal": ("minimal", "low")}
# Up to Claude 4.5 a budget is sent; later models decide by themselves, and refuse one from 4.7 on.
_BUDGETED = pattern(r"claude-(?:v?[23]|instant|(?:opus|sonnet|haiku)-4(?:-[0-5])?(?:[-@]\d{8})?(?:$|[^\d-]))", re.I)


def tokens_of(reasoning: Reasoning) -> int:
    """The output tokens that the model may reason, beside those of its reply."""
    if reasoning is None:
        return 0
    return reasoning if isinstance(reasoning, int) else TOKENS[reasoning]


def room_for(reasoning: Reasoning, name: str) -> int:
    """The output tokens to set aside for reasoning: those of the level, or of the least that the model can do."""
    least = TOKENS["low"] if reasoning is not None and _NEVER_WITHOUT.search(name) else 0
    if reasons(reasoning) and "claude" in name.lower():
        least = _LEAST_BUDGET  # `max_tokens` has to be larger than the budget that is sent
    return max(tokens_of(reasoning), least)


FAMILY = r"(?:^(?:ft:)?|/)"
"""What stands before the name of a family: nothing, the mark of a fine-tuned model, or a vendor's name and a slash."""
_NEVER_WITHOUT = pattern(FAMILY + r"(?:o[134](?:$|-)|gpt-5(?:$|-(?!chat))|gemini-(?:2\.5|3[^/]*)-pro)", re.IGNORECASE)


def reasons(reasoning: Reasoning) -> bool:
    """Whether reasoning is asked for."""
    return reasoning is not None and tokens_of(reasoning) > 0


def style_of(base_url: str, dialect: str) -> str:
    """Whose words a server with OpenAI's API takes: by its dialect, else by its host."""
    if dialect in ("vllm", "llamacpp"):
        return dialect
    host = re.sub(r"^\w+://|[:/].*$", "", base_url.lower())
    known = {"openrouter.ai": "openrouter", "googleapis.com": "gemini", "deepseek.com": "deepseek"}
    return next((style for name, style in known.items() if host == name or host.endswith(f".{name}")), "openai")


def openai_forms(reasoning: Reasoning, style: str) -> list[Fields]:
    """The forms of a level for a server with OpenAI's API, the preferred first; {} leaves it to the model."""
    if reasoning is None:
        return [{}]
    on, level = reasons(reasoning), _level(reasoning)
    efforts: list[Fields] = [{"reasoning_effort": word} for word in _NEXT.get(level, (level,))]
    budget = reasoning if isinstance(reasoning, int) else None
    forms: list[Fields] = efforts
    if style == "openrouter":
        forms = [{"reasoning": {"max_tokens": budget} if budget else {"effort": level}}]
        forms += [] if on else [{"reasoning": {"enabled": False}}]
    elif style == "gemini" and budget:
        forms = [{"extra_body": {"google": {"thinking_config": {"thinking_budget": budget}}}}, *efforts]
    elif style == "deepseek":
        switch: Fields = {"thinking": {"type": "enabled" if on else "disabled"}}
        forms = [{**switch, "reasoning_effort": level}, switch] if on else [switch]
    elif style == "vllm":
        switch = {"chat_template_kwargs": {"enable_thinking": on, "thinking": on}}
        budgeted: Fields = {"thinking_token_budget": budget} if budget else {"reasoning_effort": _of_three(level)}
        forms = [{**budgeted, **switch}, switch] if on else [switch]
    elif style == "llamacpp":
        effort: Fields = {"reasoning_effort": _of_three(level)} if on else {}
        forms = [{"chat_template_kwargs": {"enable_thinking": on, **effort}}]
    return [*forms, {}]


def anthropic_forms(reasoning: Reasoning, name: str) -> list[Fields]:
    """The forms of a level for Anthropic's Messages, the preferred first; {} leaves it to the model."""
    if reasoning is None:
        return [{}]
    if not reasons(reasoning):
        return [{"thinking": {"type": "disabled"}}, {}]
    effort = _of_three(_level(reasoning))
    adaptive = {"thinking": {"type": "adaptive"}, "output_config": {"effort": effort}}
    budget = {"thinking": {"type": "enabled", "budget_tokens": max(_LEAST_BUDGET, tokens_of(reasoning))}}
    budgeted = isinstance(reasoning, int) or _BUDGETED.search(name)
    return [budget, adaptive, {}] if budgeted else [adaptive, budget, {}]


def responses_forms(reasoning: Reasoning) -> list[Fields]:
    """The forms of a level for OpenAI's Responses, the preferred first; {} leaves it to the model."""
    if reasoning is None:
        return [{}]
    level = _level(reasoning)
    return [*({"reasoning": {"effort": word}} for word in _NEXT.get(level, (level,))), {}]


_BEDROCK_VERSION = pattern(r"-v\d+(?::\d+)?$")


def converse_forms(reasoning: Reasoning, name: str) -> list[Fields]:
    """The forms of a level for Bedrock's Converse: those of the model's own API, as its additional fields.

    Claude has Anthropic's; other models have `reasoning_effort`, or leave it to the model.
    """
    if "claude" in name:
        own = anthropic_forms(reasoning, _BEDROCK_VERSION.sub("", name))
    else:
        own = [{"reasoning_effort": _of_three(_level(reasoning))}, {}] if reasons(reasoning) else [{}]
    return [{"additionalModelRequestFields": fields} if fields else {} for fields in own]


# Families that reason unless they are told not to. gpt-5-chat is no reasoning model, and gpt-5.1 and later do not by
# themselves.
_BY_ITSELF = pattern(
    FAMILY + r"(?:o[134](?:$|-)|gpt-5(?:$|-(?!chat))|gpt-oss|deepseek-(?:reasoner|r1|v4)|gemini-(?:2\.5|3)|"
    r"grok-4|qwq|qwen-?3(?!.*instruct)|magistral)",
    re.IGNORECASE,
)


def reasons_by_itself(name: str) -> bool:
    """Whether a model of this name is known to reason before it replies where nothing is said of it."""
    return bool(_BY_ITSELF.search(name))


def _level(reasoning: Reasoning) -> str:
    """The level, or the one nearest to a number of tokens from above."""
    if not isinstance(reasoning, int):
        return reasoning or "none"
    return next((level for level, most in TOKENS.items() if reasoning <= most), "high")


def _of_three(level: str) -> str:
    return "low" if level == "minimal" else level
