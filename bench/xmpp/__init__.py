"""XMPP beside its peers: the same accounts and the same load on Whimbrel, ejabberd and Prosody."""
