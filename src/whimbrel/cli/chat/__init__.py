"""`whimbrel chat`: people talk in a terminal. app.py first; one widget a file."""

from whimbrel.cli.chat.app import ChatApp, run_chat

__all__ = ["ChatApp", "run_chat"]
