"""XMPP: any existing client, on the same accounts and under the same laws. Begin with hub.py."""
