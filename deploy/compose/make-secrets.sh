#!/bin/sh
# Passwords for PostgreSQL and NATS, and a self-signed certificate, in ./secrets. What is there stays.
#   sh make-secrets.sh [DOMAIN]
# The folder is closed to others; the files in it are readable, because containers run as users of
# their own and see the files alone. Put a real certificate in place of fullchain.pem and privkey.pem.
set -eu
domain=${1:-localhost}
cd "$(dirname "$0")"
mkdir -p secrets
chmod 700 secrets
secret() { openssl rand -hex 24; }
[ -s secrets/postgres_password ] || secret > secrets/postgres_password
[ -s secrets/nats_password ] || secret > secrets/nats_password
cat > secrets/nats_auth.conf <<END
authorization { user: whimbrel, password: "$(cat secrets/nats_password)" }
END
[ -s secrets/privkey.pem ] || openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 \
    -nodes -days 365 -subj "/CN=$domain" -addext "subjectAltName=DNS:$domain" \
    -keyout secrets/privkey.pem -out secrets/fullchain.pem 2>/dev/null
chmod 644 secrets/*
echo "secrets are in $(pwd)/secrets; write domain = \"$domain\" into whimbrel.toml"
