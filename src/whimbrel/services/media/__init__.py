"""Files that people send: slots, uploads, thumbnails, links. Read service.py first."""
