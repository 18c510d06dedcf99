"""SASL, the server's side, without I/O: PLAIN and the SCRAM family (RFC 4616, 5802, 7677)."""
