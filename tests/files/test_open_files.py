"""Promise: however many files are read in turn, few are open, and each is found again."""

from __future__ import annotations

import io

from hypothesis import given, settings
from hypothesis import strategies as st

from scorer.files.open_files import OpenFiles


@settings(max_examples=30)
@given(asked=st.lists(st.tuples(st.integers(0, 6), st.booleans())), most=st.integers(1, 4))
def test_few_files_are_open_and_each_is_found_again(asked: list[tuple[int, bool]], most: int) -> None:
    opened: list[io.BytesIO] = []

    def opens(name: str) -> io.BytesIO:
        opened.append(io.BytesIO(name.encode()))
        return opened[-1]

    files = OpenFiles(opens, most)
    for name, closes in asked:
        if closes:
            files.close(str(name))
            continue
        file = files.get(str(name))
        file.seek(0)
        assert file.read() == str(name).encode()
        again = len(opened)
        assert files.get(str(name)) is file
        assert len(opened) == again
        assert sum(not one.closed for one in opened) <= most
    files.close_all()
    assert all(one.closed for one in opened)
