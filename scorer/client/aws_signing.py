"""Signs requests to Amazon Bedrock by AWS Signature Version 4, with botocore's own chain of credentials.

botocore is imported where a model's provider is "bedrock", and nowhere else.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

from scorer.errors import SetupError, SpecError
from scorer.types import Call, Reply, Transport

SERVICE = "bedrock"
RENEW_S = 60.0
"""botocore is asked so often for its credentials, which it renews some minutes before they expire."""


def check_installed() -> None:
    """Raises SpecError where botocore is not installed."""
    if find_spec("botocore") is None:
        raise SpecError(
            [
                'model.provider = "bedrock" needs botocore, which is not installed: '
                "pip install 'batch-scorer[bedrock]'."
            ]
        )


class AwsSession:
    """The region and the credentials of the AWS configuration: variables, profiles, SSO, roles, instances.

    Raises SetupError where there is no region or no credentials.
    """

    def __init__(self) -> None:
        from botocore.session import Session

        self._session = Session()
        self._credentials: Any = None
        self._frozen: Any = None
        self._renew_at = 0.0

    @property
    def region(self) -> str:
        """The region of AWS_REGION, or of the profile."""
        found = os.environ.get("AWS_REGION") or self._session.get_config_variable("region")
        if not found:
            raise SetupError(
                'model.provider = "bedrock" needs a region: set AWS_REGION, or model.base_url = '
                '"https://bedrock-runtime.eu-central-1.amazonaws.com".'
            )
        return str(found)

    async def credentials(self) -> Any:
        """Credentials that hold for the next minute, asked for on a thread: they may be fetched over the network."""
        now = asyncio.get_running_loop().time()
        if self._frozen is None or now >= self._renew_at:
            self._frozen = await asyncio.to_thread(self._fetched)
            self._renew_at = now + RENEW_S
        return self._frozen

    def _fetched(self) -> Any:
        from botocore.exceptions import BotoCoreError

        try:
            if self._credentials is None:
                self._credentials = self._session.get_credentials()
            if self._credentials is not None:
                return self._credentials.get_frozen_credentials()
        except BotoCoreError as error:
            raise SetupError(f"AWS credentials cannot be had: {error}.") from error
        raise SetupError(
            'model.provider = "bedrock" found no AWS credentials. Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and '
            "AWS_SECRET_ACCESS_KEY, or give a Bedrock key by model.api_key_env."
        )


class SigningTransport:
    """A `Transport` that signs each call with the newest credentials, for a region."""

    def __init__(self, transport: Transport, session: AwsSession, region: str) -> None:
        self._transport = transport
        self._session = session
        self._region = region

    async def post(self, call: Call) -> Reply:
        headers = signed(call, await self._session.credentials(), self._region)
        return await self._transport.post(replace(call, headers=headers))


def signed(call: Call, credentials: Any, region: str) -> dict[str, str]:
    """The headers of a call with its signature, which holds for some minutes from now on."""
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest

    request = AWSRequest(method="POST", url=call.url, data=call.body, headers=dict(call.headers))
    SigV4Auth(credentials, SERVICE, region).add_auth(request)
    return dict(request.headers.items())
