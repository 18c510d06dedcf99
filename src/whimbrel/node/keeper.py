"""The keeper: what is left of the first server of a terminal or a container after a restart.

Who started a server waits for its process: a shell, `make run`, a container. So the first server,
when it has handed over, becomes this little program under its old process number. It passes
signals on to the server of today, ends with it and with its exit code. A restart after that is
between two servers; the old one says who comes next through a pipe, and the kernel makes the next
one a child of the keeper when the old one ends (PR_SET_CHILD_SUBREAPER, prctl(2)). Under a service
manager that can be told of a new main process there is no keeper (notify.py).

Runs as a script with nothing but the standard library, so that it takes as little memory as it can:
`python -I -S keeper.py PID FD`. Imports nothing of ours.
"""

import ctypes
import os
import signal
import sys

PR_SET_CHILD_SUBREAPER = 36
PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
VARIABLE = "WHIMBREL_KEEPER"  # "PID:FD" of the keeper, for the servers


def keep(server: int, news: int) -> int:
    """server: a child; news: the pipe on which servers name the next one. The exit code."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    os.set_blocking(news, False)
    current, asked = [server], [0]

    def pass_on(number: int, _: object) -> None:
        asked[0] = number
        try:
            os.kill(current[0], number)
        except ProcessLookupError:
            return

    for number in PASSED_ON:
        signal.signal(number, pass_on)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)  # what came while we became the keeper
    while True:
        try:
            pid, status = os.waitpid(-1, 0)
        except ChildProcessError:
            return 1  # never: a server is always waited for before it is gone
        if pid != current[0]:
            continue  # something that a server left behind
        try:
            named = os.read(news, 65_536).split()
        except BlockingIOError:
            named = []
        if not named:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
        current[0] = int(named[-1])
        if asked[0]:  # it was for the server, and that one was on its way out
            pass_on(asked[0], None)


if __name__ == "__main__":
    sys.exit(keep(int(sys.argv[1]), int(sys.argv[2])))
