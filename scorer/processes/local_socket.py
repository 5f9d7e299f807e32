"""A Unix socket that only its owner can use: where it is, and who is at its other end. Imports nothing of scorer.

It lies in a folder of the user's own with mode 0700: `$XDG_RUNTIME_DIR/scorer`, else `/tmp/scorer-UID`.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import pwd
import socket
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from scorer.patterns import pattern

LONGEST = 90
"""Bytes of the longest path here. A Unix socket's has 103 at most on macOS, and a number is added while it is made."""

MOST_ASKED = 256
"""At most so many sockets are looked at when one is made."""
_SOCKET = pattern(r"\.sock(\.\d+)?$")


def socket_path(name: str) -> str | None:
    """The path of the socket of this name, for this user on this machine. Its folder is made where it is missing.

    None where no folder can be had that belongs to this user alone.
    """
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:24]
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    for folder in (*([f"{runtime}/scorer"] if runtime else []), f"/tmp/scorer-{os.getuid()}"):
        path = f"{folder}/{digest}.sock"
        if len(os.fsencode(path)) <= LONGEST and _own(folder):
            return path
    return None


def _own(folder: str) -> bool:
    """Whether it is a folder, and no link to one, that this user alone can use."""
    try:
        with suppress(FileExistsError):
            os.mkdir(folder, 0o700)
        found = os.lstat(folder)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077


def listener(path: str) -> socket.socket:
    """A listening socket of mode 0600 at this path, in the place of one that a killed process left. Raises OSError.

    Only who surely is the one server of this path may call it. Sockets that other killed processes left in the folder
    are removed.
    """
    made = f"{path}.{os.getpid()}"
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _one_at_a_time(os.path.dirname(path)) as folder:
            _remove_dead(folder)
            with suppress(FileNotFoundError):
                os.unlink(made)
            found.bind(made)
            os.chmod(made, 0o600)
            found.listen(8)
            os.rename(made, path)  # it is never seen with another mode, or before it listens
    except OSError:
        found.close()
        raise
    return found


@contextmanager
def _one_at_a_time(folder: str) -> Iterator[str]:
    """Keeps other processes from making or removing sockets in the folder."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield folder
    finally:
        os.close(opened)


def _remove_dead(folder: str) -> None:
    """Removes the sockets without a listener."""
    for entry in list(os.scandir(folder))[:MOST_ASKED]:
        if _SOCKET.search(entry.name):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asked, suppress(OSError):
                asked.setblocking(False)
                try:
                    asked.connect(entry.path)
                except ConnectionRefusedError:
                    os.unlink(entry.path)


def peer(connection: socket.socket) -> tuple[int, int] | None:
    """The process at the other end: its user's id and its own. None where the system does not say."""
    try:
        pid, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    except (AttributeError, OSError):  # macOS, where the folder's mode alone protects
        return None
    return uid, pid


def user_name(uid: int) -> str:
    """The name of a user, or the number where there is no name."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
