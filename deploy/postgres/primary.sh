#!/bin/sh
# Run once, by the image's own start of an empty database: a role that may only replicate.
set -eu
psql --set ON_ERROR_STOP=1 --set password="$REPLICATION_PASSWORD" \
    --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
CREATE ROLE replicator LOGIN REPLICATION PASSWORD :'password';
SQL
echo 'host replication replicator all scram-sha-256' >>"$PGDATA/pg_hba.conf"
