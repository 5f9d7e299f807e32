"""Promise: an encrypted Parquet file is refused with a sentence. pyarrow would end the process at some of them."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe
import pytest

from scorer.client.recorded import Recorded
from scorer.errors import InputError, SpecError
from scorer.files.local_files import LocalFiles
from scorer.inputs.identity import look

HOW: dict[str, dict[str, Any]] = {
    "encrypted footer": {"uniform_encryption": True, "plaintext_footer": False},
    "encrypted column, encrypted footer": {"column_keys": {"key": ["response"]}, "plaintext_footer": False},
    "encrypted column, plain footer": {"column_keys": {"key": ["response"]}, "plaintext_footer": True},
}


class Keys(pe.KmsClient):
    """A key service that keeps nothing secret."""

    def wrap_key(self, key_bytes: bytes, master_key_identifier: str) -> bytes:
        return base64.b64encode(key_bytes)


def encrypted(path: Path, how: str) -> Path:
    table = pa.table({"id": ["r0", "r1"], "response": ["one", "two"]})
    factory = pe.CryptoFactory(lambda _: Keys())
    config = pe.EncryptionConfiguration(footer_key="key", **HOW[how])
    properties = factory.file_encryption_properties(pe.KmsConnectionConfig(), config)
    with pq.ParquetWriter(path, table.schema, encryption_properties=properties) as writer:
        writer.write_table(table)
    return path


@pytest.mark.parametrize("how", HOW)
def test_an_encrypted_shard_is_refused(tmp_path: Path, how: str) -> None:
    (stat,) = LocalFiles().find([str(encrypted(tmp_path / "a.parquet", how))])
    with pytest.raises(InputError, match="columns of it are encrypted, and scorer takes no key") as refused:
        look(LocalFiles(), stat)
    assert stat.path in str(refused.value)


@pytest.mark.parametrize("how", HOW)
def test_an_encrypted_recorded_table_is_refused(tmp_path: Path, how: str) -> None:
    path = encrypted(tmp_path / "a.parquet", how)
    with pytest.raises(SpecError, match=r"model\.path: '.*' cannot be read as Parquet"):
        Recorded(path=path, keys=["id"], replies="response")
