"""Live upgrade: another version of the rules and of the XMPP features, while the server runs.

upgrader.py is the whole story; docs/upgrade.md tells it to operators.
"""
