"""XMPP without sockets: streams, elements, errors, addresses (RFC 6120, 7395, 7622)."""
