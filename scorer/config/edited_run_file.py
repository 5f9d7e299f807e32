"""A run file with some of its keys changed: its comments, order and spelling stay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tomlkit


def edited(text: str, changes: Mapping[str, Any]) -> str:
    """The TOML text with these keys, "section.key", set; None takes a key out. Sections that are missing are added."""
    document: Any = tomlkit.parse(text)
    for path, value in changes.items():
        *sections, key = path.split(".")
        table = document
        for section in sections:
            if section not in table:
                table[section] = tomlkit.table()
            table = table[section]
        if value is None:
            table.pop(key, None)
        else:
            table[key] = value
    changed: str = tomlkit.dumps(document)
    return changed
