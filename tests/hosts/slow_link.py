"""A slow line between two TAP devices: `slow_link.py NEAR FAR DELAY_S LOSS SEED`. Prints `ready`, works until killed.

Each frame arrives `DELAY_S` later at the other end, in order, or is lost with the chance `LOSS`. The kernel's own way,
netem, is a module that containers seldom have.
"""

from __future__ import annotations

import fcntl
import os
import selectors
import struct
import sys
import time
from collections import deque
from contextlib import suppress
from random import Random

TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
LONGEST = 65_536


def tap(name: str) -> int:
    opened = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(opened, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TAP | IFF_NO_PI))
    return opened


def main(near: str, far: str, delay_s: float, loss: float, seed: int) -> None:
    ends = tap(near), tap(far)
    drawn, waiting = Random(seed), deque[tuple[float, int, bytes]]()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    with selectors.DefaultSelector() as selector:
        for end, other in (ends, ends[::-1]):
            selector.register(end, selectors.EVENT_READ, other)
        while True:
            left_s = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
            for key, _ in selector.select(left_s):
                with suppress(BlockingIOError, OSError):  # read empty; or the device is down
                    while frame := os.read(key.fd, LONGEST):
                        if drawn.random() >= loss:
                            waiting.append((time.monotonic() + delay_s, key.data, frame))
            while waiting and waiting[0][0] <= time.monotonic():
                _, other, frame = waiting.popleft()
                with suppress(OSError):  # the other end is down
                    os.write(other, frame)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5]))
