-- What every service's schema has: events out, events in, failed deliveries, idempotency keys.

CREATE TABLE outbox (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id uuid NOT NULL,
    type text NOT NULL,
    key text NOT NULL,
    payload bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

CREATE TABLE inbox (
    event_id uuid NOT NULL,
    reaction text NOT NULL,
    handled_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (event_id, reaction)
);
CREATE INDEX inbox_handled_at ON inbox USING brin (handled_at);

CREATE TABLE deliveries (
    event_id uuid NOT NULL,
    reaction text NOT NULL,
    type text NOT NULL,
    key text NOT NULL,
    payload bytea NOT NULL,
    attempts int NOT NULL DEFAULT 1 CHECK (attempts > 0),
    due_at timestamptz NOT NULL,
    parked_at timestamptz,
    error text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (event_id, reaction)
);
CREATE INDEX deliveries_due_at ON deliveries (due_at) WHERE parked_at IS NULL;

CREATE TABLE idempotency_keys (
    principal text NOT NULL,
    key text NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
    fingerprint bytea NOT NULL,
    status int,
    body bytea,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (principal, key)
) WITH (fillfactor = 80);
CREATE INDEX idempotency_keys_created_at ON idempotency_keys USING brin (created_at);
