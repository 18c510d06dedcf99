"""The HTTP front end: sign-up by phone, administration, health, its own OpenAPI document.

Read routes.py first: one table drives both dispatch (dispatch.py) and the document
(openapi.py). server.py opens the sockets.
"""
