"""Signals told to the program without a word to the system."""

from __future__ import annotations

import signal


def deliver(number: int) -> None:
    """What the program does when ``number`` arrives.

    Only a process of its own is sent real ones, as ``rvc/train/test_loop.py`` does: twice, one that a test sent to
    its own process, though it was listened to, ended that process and all tests in it without a word.
    """
    handler = signal.getsignal(number)
    assert callable(handler), f"nobody listens to {signal.Signals(number).name}"
    handler(number, None)
