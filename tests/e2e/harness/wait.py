"""Waiting without fixed sleeps: poll a condition until it holds or a deadline passes.

A limit is there to end a test that hangs. It measures nothing: a busy machine may take its time, and no test fails for
that. How fast something is, a benchmark says.
"""

import time

PATIENCE = 60.0


def patient(timeout):
    """The limit of a wait for what must come. Below a second it is a look at what must not come, and stays."""
    return timeout if timeout < 1 else max(timeout, PATIENCE)


def until(what, condition, timeout=10.0, pause=0.02):
    """Returns the first truthy value of `condition()`; fails with `what` after `timeout` seconds."""
    timeout = patient(timeout)
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
