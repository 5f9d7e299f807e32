"""Opens the store of a bucket with address and credentials from the environment; the same for polars and Delta.

Only the variables of the cloud's own tools are read; nothing of them is in a run file, in run.json or in a message.
boto3 finds Amazon's profiles, SSO and roles; obstore finds keys in the environment, web identities and container
credentials.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from scorer.errors import SpecError, StorageError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

SCHEMES = ("s3", "gs", "az")
REQUEST_S, CONNECT_S = 30.0, 5.0
"""Timeouts of a request and of a connection."""
_INNER: dict[str, Any] = {
    "max_retries": 1,
    "retry_timeout": timedelta(seconds=3),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(milliseconds=200), "base": 2},
}
"""One quick retry for a connection that was closed while idle. retry.py does the others, because it checks the lease
between attempts."""
_OWN_CHAIN = ("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
              "AWS_CONTAINER_CREDENTIALS_FULL_URI")  # fmt: skip


def table_options(uri: str) -> dict[str, str] | None:
    """The `storage_options` that polars and Delta need for `uri` beside the environment, without secrets; or None."""
    if not uri.startswith("s3://"):
        return None
    return {f"aws_{name}": value for name, value in _s3_address().items()}


def scan_options(uri: str) -> dict[str, Any]:
    """Keyword arguments of polars' `scan_parquet` for `uri`: none for a local path."""
    options = table_options(uri)
    if options is None:
        return {}
    if _own_chain():
        return {"storage_options": options}
    import polars as pl  # without a provider it stops searching for credentials once a region is given

    return {"storage_options": options, "credential_provider": pl.CredentialProviderAWS()}


def open_store(root: str, *, request_s: float = REQUEST_S) -> ObjectStore:
    """Opens the store of a bucket, configured by the environment. Sends nothing, except to find Amazon's credentials.

    Raises SpecError for another scheme or contradictory settings in the environment, StorageError where no credentials
    are found.
    """
    from obstore.exceptions import BaseError
    from obstore.store import AzureStore, GCSStore, S3Store

    scheme, _, bucket = root.partition("://")
    if scheme not in SCHEMES or not bucket:
        known = ", ".join(f"{name}://" for name in SCHEMES)
        raise SpecError([f"{root}/ is not supported. Give {known} with a bucket, or a local path."])
    options: Any = {"timeout": timedelta(seconds=request_s), "connect_timeout": timedelta(seconds=CONNECT_S)}
    retry: Any = _INNER
    try:
        if scheme == "gs":
            return GCSStore(bucket, client_options=options, retry_config=retry)
        if scheme == "az":
            account = os.environ.get("AZURE_STORAGE_ACCOUNT_NAME") or os.environ.get("AZURE_STORAGE_ACCOUNT")
            if account is None:
                raise SpecError([f"{root} cannot be opened: set AZURE_STORAGE_ACCOUNT_NAME to its storage account."])
            return AzureStore(bucket, account_name=account, client_options=options, retry_config=retry)
        address = _s3_address()
        if address.pop("allow_http", None):
            options["allow_http"] = True
        more: Any = address
        return S3Store(
            bucket, client_options=options, retry_config=retry, credential_provider=_s3_credentials(root), **more
        )
    except (BaseError, ValueError) as error:
        said = str(error).partition("\n")[0][:300]
        raise SpecError(
            [f"{root} cannot be opened: {said}. docs/how-to/object-storage.md says what the environment needs."]
        ) from error


def _s3_address() -> dict[str, str]:
    """Region and endpoint from the environment or the profile."""
    address: dict[str, str] = {}
    if endpoint := os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL"):
        address["endpoint_url"] = endpoint
        if endpoint.startswith("http://"):
            address["allow_http"] = "true"
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if region is None and not _own_chain():
        region = _session("s3://").region_name
    return {**address, "region": region} if region else address


def _own_chain() -> bool:
    """True where obstore finds the credentials itself: keys in the environment, web identity, container, or none."""
    anonymous = os.environ.get("AWS_SKIP_SIGNATURE", "").lower() in ("true", "1", "yes", "on")
    return anonymous or ("AWS_PROFILE" not in os.environ and any(name in os.environ for name in _OWN_CHAIN))


def _session(root: str) -> Any:
    import boto3
    from botocore.exceptions import BotoCoreError

    try:
        return boto3.Session()
    except BotoCoreError as error:
        raise StorageError(f"Cannot open {root}: {error}. Look at AWS_PROFILE and the files it names.") from error


def _s3_credentials(root: str) -> Any:
    if _own_chain():
        return None
    from botocore.exceptions import BotoCoreError
    from obstore.auth.boto3 import Boto3CredentialProvider

    session = _session(root)
    try:
        found = session.get_credentials()
    except BotoCoreError as error:
        raise StorageError(f"Cannot open {root}: {error}. Look at AWS_PROFILE and the files it names.") from error
    if found is None:
        raise StorageError(
            f"Cannot open {root}: no credentials were found. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
            "AWS_PROFILE, or run where the instance has a role; AWS_SKIP_SIGNATURE=true reads a public bucket."
        )
    return Boto3CredentialProvider(session)
