"""Front ends: sockets, TLS, sessions, back-pressure. Sees a router, never logic or storage."""
