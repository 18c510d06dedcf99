"""The store on PostgreSQL, for several nodes. store.py first; then schema, statements, reads."""
