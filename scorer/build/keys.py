"""Keys, headers and secrets of a model's requests, from environment variables or a command."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from scorer.client.blanking import Secrets
from scorer.config.loader import references, resolve_references
from scorer.config.messages import SECRET_NAME, looks_random
from scorer.config.spec import Model
from scorer.errors import SetupError
from scorer.frozen import dataclass
from scorer.patterns import pattern
from scorer.types import Transport

if TYPE_CHECKING:
    from scorer.client.aws_signing import AwsSession
    from scorer.client.key_command import KeyCommand

_REGION = pattern(r"//bedrock-runtime(?:-fips)?\.([a-z0-9-]+)\.")


async def asked_key(model: Model, secrets: Secrets) -> KeyCommand | None:
    """The command of `model.api_key_command`, which has printed its first key. Raises SetupError."""
    if not model.api_key_command:
        return None
    from scorer.client.key_command import KeyCommand

    command = KeyCommand(model.api_key_command, secrets)
    await command.ask()
    return command


@dataclass(frozen=True, slots=True)
class AwsAccount:
    """Whose credentials sign the requests to Bedrock, and for which region."""

    session: AwsSession
    region: str

    def signing(self, transport: Transport) -> Transport:
        """The transport with each call signed."""
        from scorer.client.aws_signing import SigningTransport

        return SigningTransport(transport, self.session, self.region)


def aws_account(model: Model) -> AwsAccount | None:
    """The account of the AWS configuration for a model of Bedrock without a key of its own; None for any other model.

    The region is that of `base_url`, else that of the configuration. Raises SetupError where there is none.
    """
    if model.provider != "bedrock" or has_key(model):
        return None
    from scorer.client.aws_signing import AwsSession

    session = AwsSession()
    found = _REGION.search(model.base_url or "")
    return AwsAccount(session, found[1] if found else session.region)


def has_key(model: Model) -> bool:
    """Whether the run file names a key of the model."""
    return bool(model.api_key_env or model.api_key_command or any(one.api_key_env for one in model.endpoints))


def key_of(variable: str | None, url: str) -> str | None:
    """The key in an environment variable; `url` is for the message. Raises SetupError where it is not set."""
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip()
    if not key:
        raise SetupError(
            f'model.api_key_env = "{variable}": that environment variable is not set. Put the key of {url} in it, or '
            "name another one."
        )
    return key


def key_header(provider: str, url: str, key: str | None) -> dict[str, str]:
    """The header in which the provider at `url` takes the key."""
    if key is None:
        return {}
    if provider == "anthropic":
        return {"x-api-key": key}
    host = urlsplit(url).hostname or ""
    return {"api-key": key} if host.endswith(".azure.com") else {"Authorization": f"Bearer {key}"}


def secrets_of(model: Model) -> set[str]:
    """The secrets in a model's requests: values of environment variables that must not be stored with replies.

    A variable in a header or the query counts where its name or its value looks like a secret; a project's title does
    not.
    """
    names = {model.api_key_env, *(endpoint.api_key_env for endpoint in model.endpoints)}
    found = {os.environ.get(name, "").strip() for name in names if name is not None}
    for values in (model.headers, model.query):
        for header, value in values.items():
            for name in references(value):
                secret = os.environ.get(name, "").strip()
                if SECRET_NAME.search(header) or SECRET_NAME.search(name) or looks_random(secret):
                    found.add(secret)
    return found


def resolved(values: Mapping[str, str], where: str) -> dict[str, str]:
    """The values with each `${NAME}` replaced. Raises SetupError for variables that are not set."""
    found, missing = resolve_references(values)
    if missing:
        raise SetupError(f"{where} refers to environment variables that are not set: {', '.join(missing)}. Set them.")
    return found
