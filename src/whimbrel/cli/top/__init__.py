"""`whimbrel top`: the server as it runs, on a terminal. app.py first; feed.py asks the server."""

from whimbrel.cli.top.command import top

__all__ = ["top"]
