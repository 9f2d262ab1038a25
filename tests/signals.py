"""Signals told to the program without a word to the system."""

from __future__ import annotations

import signal


def deliver(number: int) -> None:
    """What the program does when ``number`` arrives.

    Only a process of its own is sent real ones, as ``rvc/train/test_loop.py`` does: a signal that is not listened to
    ends its process without a word, and all tests in it.
    """
    handler = signal.getsignal(number)
    assert callable(handler), f"nobody listens to {signal.Signals(number).name}"
    handler(number, None)
