"""Regular expressions that are compiled at their first use: a start defines a hundred, and uses few of them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pattern = re.compile
else:

    class pattern:
        """Stands for `re.compile(source, flags)`. A method is found once, and then kept."""

        def __init__(self, source: str | bytes, flags: int = 0) -> None:
            self._source = source, flags

        def __getattr__(self, name: str):
            if name.startswith("_"):  # copy and pickle ask for methods that a pattern has not
                raise AttributeError(name)
            found = getattr(re.compile(*self._source), name)  # re keeps what it compiled
            setattr(self, name, found)
            return found
