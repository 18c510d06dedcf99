"""What breaks between machines, played with real parts while people talk. See __main__.py."""
