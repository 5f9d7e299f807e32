"""The contract of a provider: what `scorer.types.Provider` promises."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import pytest

from scorer.errors import RowError, ServerFault, SetupError, Throttled, TransientError
from scorer.testing.pure import no_io, other_moment
from scorer.types import Call, Completion, Message, Provider, RateHint, Reply, Request
from scorer.usage import Usage

SECRET = "contract-secret-0123456789"
MOST_CALLS = 10
STRANGE = (
    b"",
    b" ",
    b"null",
    b"[]",
    b"{}",
    b"3",
    b'"text"',
    b"NaN",
    b"<html><body>Bad gateway</body></html>",
    b"\xff\xfe\x00",
    b"[" * 5000,
    b'{"error": null}',
    b'{"error": "it broke"}',
    b'{"error": {"message": "it broke", "type": "x", "code": 7}}',
    b'{"choices": [], "message": null, "content": null}',
    b'{"choices": [null], "message": [], "content": {}}',
)
"""Bodies that hold no completion in any dialect."""
Outcome = Completion | RowError | TransientError | SetupError


class ProviderContract(ABC):
    """Tests of a provider. Derive a class `Test...` and give `make`, `body`, `text` and `usage`.

    `make` hands its keyword arguments on to the class, as a run does: name, base_url, headers, query, extra,
    temperature, max_output_tokens and dialect.
    """

    body: bytes
    """A whole reply of the server, under status 200."""
    text: str
    """The text that it holds."""
    usage: Usage | None
    """The tokens that it tells."""
    generates: bool = True
    """False where the model writes no text, so that temperature and output limit mean nothing to it."""
    request = Request(messages=(Message("system", "You grade."), Message("user", "Grade “naïve” 日本語.")), tokens=20)

    @abstractmethod
    def make(self, **options: Any) -> Provider:
        """A new provider."""

    def made(self, **options: Any) -> Provider:
        """One for the tests: `options` over the usual ones."""
        usual: dict[str, Any] = {
            "name": "some-model",
            "base_url": "http://judge.test/v1",
            "headers": {"Authorization": f"Bearer {SECRET}"},
            "query": {},
            "extra": {},
            "temperature": 0.0,
            "max_output_tokens": 64,
            "dialect": "auto",
        }
        return self.make(**{**usual, **options})

    # --- what is sent -------------------------------------------------------------------------------------------------

    def test_provider_posts_below_base_url_with_its_headers(self) -> None:
        for url in ("http://judge.test/v1", "http://judge.test/v1/"):
            (call,), _ = self._talk(self.made(base_url=url), 200, self.body)
            assert call.url.startswith("http://judge.test/")
            assert "//" not in call.url.removeprefix("http://")
            assert isinstance(call.body, bytes)
            assert call.headers["Authorization"] == f"Bearer {SECRET}"

    def test_provider_body_holds_model_messages_and_extra(self) -> None:
        (call,), _ = self._talk(self.made(extra={"a_key_of_extra": "its value"}), 200, self.body)
        sent = call.body.decode() + call.url
        for part in ("some-model", "You grade.", "a_key_of_extra", "its value"):
            assert part in sent, f"{part} is not sent"

    def test_provider_body_depends_on_temperature_and_output_limit(self) -> None:
        (usual,), _ = self._talk(self.made(), 200, self.body)
        for options in ({"temperature": 0.75}, {"max_output_tokens": 7}):
            (other,), _ = self._talk(self.made(**options), 200, self.body)
            assert (other.body != usual.body) == self.generates, f"{options} changes nothing, or should change nothing"

    def test_provider_makes_the_same_call_of_the_same_request(self) -> None:
        before = self._talk(self.made(), 200, self.body)
        with other_moment(7):
            assert self._talk(self.made(), 200, self.body) == before

    def test_provider_does_no_io(self) -> None:
        provider = self.made()
        self._talk(provider, 200, self.body)
        with no_io():
            self._talk(provider, 200, self.body)
            provider.rate({"retry-after": "3"})

    def test_provider_repr_hides_the_key(self) -> None:
        provider = self.made()
        calls, _ = self._talk(provider, 200, self.body)
        assert SECRET not in repr(provider)
        assert SECRET not in repr(calls)

    # --- what is read -------------------------------------------------------------------------------------------------

    def test_provider_reads_text_usage_and_body_of_a_reply(self) -> None:
        _, read = self._talk(self.made(), 200, self.body)
        assert isinstance(read, Completion), read
        assert (read.text, read.usage, read.body) == (self.text, self.usage, self.body)

    def test_provider_raises_transient_error_for_a_cut_reply(self) -> None:
        for length in range(len(self.body)):
            if not self.body[length:].strip():
                continue
            _, read = self._talk(self.made(), 200, self.body[:length])
            assert isinstance(read, TransientError), f"the first {length} bytes are read as {read!r}"

    @pytest.mark.parametrize("body", STRANGE)
    def test_provider_raises_typed_error_for_200_without_completion(self, body: bytes) -> None:
        _, read = self._talk(self.made(), 200, body)
        assert not isinstance(read, Completion), f"{body[:60]!r} is read as {read!r}"

    @pytest.mark.parametrize("body", STRANGE)
    def test_provider_raises_typed_error_for_any_other_status(self, body: bytes) -> None:
        """_talk lets no other exception through."""
        for status in (201, 204, 301, 400, 401, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503, 529):
            _, read = self._talk(self.made(), status, body)
            assert isinstance(read, RowError | TransientError | SetupError), f"{status} is {read!r}"

    def test_provider_tells_set_up_row_and_transient_errors_by_status(self) -> None:
        expected: Mapping[int, type | tuple[type, ...]] = {
            401: SetupError,
            403: SetupError,
            404: SetupError,
            429: Throttled,
            500: ServerFault,
            502: ServerFault,
            503: TransientError,
        }
        for status, kind in expected.items():
            for body in (b"", b"{}", b"<html>"):
                _, read = self._talk(self.made(), status, body)
                assert isinstance(read, kind), f"{status} is {read!r}"

    @pytest.mark.parametrize(
        "value", ["", "3", "0", "-1", "1e999", "nan", "soon", "Wed, 21 Oct 2026 07:28:00 GMT", "\x00"]
    )
    def test_provider_rate_raises_for_no_header(self, value: str) -> None:
        names = ("retry-after", "retry-after-ms", "x-ratelimit-limit-requests", "x-ratelimit-remaining-tokens", "date")
        hint = self.made().rate(dict.fromkeys(names, value))
        assert isinstance(hint, RateHint)
        gauges = [number for gauge in hint.gauges.values() for number in (gauge.limit, gauge.remaining, gauge.reset_s)]
        for number in (hint.retry_after_s, *gauges):
            assert number is None or (math.isfinite(number) and number >= 0), number

    def test_provider_rate_is_empty_without_headers(self) -> None:
        assert self.made().rate({}) == RateHint()

    # --- the conversation ---------------------------------------------------------------------------------------------

    def _talk(self, provider: Provider, status: int, body: bytes) -> tuple[list[Call], Outcome]:
        """The calls, each of which gets the same reply, and what comes of them."""
        calls: list[Call] = []
        talk = provider.converse(self.request)
        try:
            call = next(talk)
            for _ in range(MOST_CALLS):
                calls.append(call)
                call = talk.send(Reply(status, {}, body))
        except StopIteration as end:
            if not isinstance(end.value, Completion):
                raise AssertionError(f"it returned {end.value!r}") from None
            return calls, end.value
        except (RowError, TransientError, SetupError) as error:
            return calls, error
        raise AssertionError(f"it still calls after {MOST_CALLS} replies")
