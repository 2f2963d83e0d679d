"""Waiting without fixed sleeps: poll a condition until it holds or a deadline passes."""

import time


def until(what, condition, timeout=10.0, pause=0.02):
    """Returns the first truthy value of `condition()`; fails with `what` after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout:g} s in vain: {what} (last: {value!r})")
        time.sleep(pause)


def stays(what, condition, seconds):
    """Checks that `condition()` holds all the time for `seconds`: for what must NOT happen."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert condition(), what
        time.sleep(0.02)
