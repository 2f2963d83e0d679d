"""Runs a command under a filter that answers some system calls with an error, as a container's does: seccomp(2).

    refuses_calls.py ERRNO NUMBER[,NUMBER...] COMMAND [ARGUMENTS...]
"""

import ctypes
import errno
import os
import struct
import sys

IO_URING = "425,426,427"  # io_uring_setup, _enter and _register: the same numbers everywhere
EPOLL_PWAIT2 = "441"

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 38, 22, 2
_LOAD, _IF_EQUAL, _RETURN = 0x20, 0x15, 0x06  # BPF: of a word at an offset; else skip; end
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000


def _instruction(code, if_true, if_false, value):
    return struct.pack("HBBI", code, if_true, if_false, value)


def refuse(number, calls):
    program = _instruction(_LOAD, 0, 0, 0)  # the call's number
    for call in calls:
        program += _instruction(_IF_EQUAL, 0, 1, call) + _instruction(_RETURN, 0, 0, _ERRNO | number)
    program += _instruction(_RETURN, 0, 0, _ALLOW)
    held = ctypes.create_string_buffer(program, len(program))
    described = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(held)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, described):
        raise OSError(ctypes.get_errno(), "the filter was refused")


def launcher(name, *calls):
    """The words to put before a command."""
    return [sys.executable, "-B", os.path.abspath(__file__), name, ",".join(calls)]


if __name__ == "__main__":
    refuse(getattr(errno, sys.argv[1]), [int(each) for each in sys.argv[2].split(",")])
    os.execvp(sys.argv[3], sys.argv[3:])
