#!/bin/sh
# A streaming replica: copied from the primary when its volume is empty, and started.
# An unfinished copy is taken away, so that it is never started as if it were whole.
set -eu
if [ ! -e "$PGDATA/copied" ]; then
    rm -rf "$PGDATA"
    mkdir -p -m 0700 "$PGDATA"
    pg_basebackup --pgdata="$PGDATA" --host=primary --username=replicator \
        --write-recovery-conf --wal-method=stream --checkpoint=fast
    touch "$PGDATA/copied"
fi
unset PGPASSWORD
exec postgres
