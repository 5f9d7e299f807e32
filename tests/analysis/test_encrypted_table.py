"""Promise: an analysis of an encrypted table says that it is encrypted, and what to do."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import scorer
from scorer.errors import SpecError

encryption = pytest.importorskip("pyarrow.parquet.encryption")


class Keys(encryption.KmsClient):  # type: ignore[misc, name-defined]
    """A key service that wraps nothing."""

    def __init__(self, _: Any) -> None:
        super().__init__()

    def wrap_key(self, key: bytes, _: str) -> bytes:
        return base64.b64encode(key)

    def unwrap_key(self, key: bytes, _: str) -> bytes:
        return base64.b64decode(key)


@pytest.mark.parametrize("plain_footer", [False, True])
def test_an_encrypted_table_is_named_as_such(tmp_path: Path, plain_footer: bool) -> None:
    table = pa.table({"score": [float(row % 5) for row in range(20)], "human": [float(row % 4) for row in range(20)]})
    how = encryption.EncryptionConfiguration(
        footer_key="footer", column_keys={"column": ["score"]}, plaintext_footer=plain_footer
    )
    service = encryption.KmsConnectionConfig()
    properties = encryption.CryptoFactory(Keys).file_encryption_properties(service, how)
    path = tmp_path / "table.parquet"
    with pq.ParquetWriter(path, table.schema, encryption_properties=properties) as writer:
        writer.write_table(table)
    with pytest.raises(SpecError, match="The file is encrypted, and scorer takes no key: write a copy") as caught:
        scorer.agree(str(path), human="human")
    assert "Write its file again" not in str(caught.value)
