"""The real server, which ends itself at one step of a restart.

`python -m tests.node.ending serve ...`: the file that WHIMBREL_END_AT names holds a step of
node/steps.py and a deed: kill (SIGKILL), stop (SIGSTOP), raise. It is done once: the file goes.
Everything else is the production code.
"""

import os
import signal
from pathlib import Path

VARIABLE = "WHIMBREL_END_AT"


def reached(step: str) -> None:
    path = Path(os.environ.get(VARIABLE, "/nowhere"))
    try:
        where, _, deed = path.read_text().partition(":")
    except OSError:
        return
    if where != step:
        return
    path.unlink()
    if deed == "raise":
        raise RuntimeError("as the test has asked for")
    os.kill(os.getpid(), signal.SIGKILL if deed == "kill" else signal.SIGSTOP)


if __name__ == "__main__":
    if "WHIMBREL_SUCCEEDS" in os.environ:
        reached("import")
    from whimbrel.cli.main import main
    from whimbrel.node import steps

    steps.reached = reached
    main()
