-- The schema of notifications, as its migrations and the platform's make it. Written by
-- `python -m tests.architecture.write_schemas`; never edited: write a migration instead.

CREATE TABLE deliveries (
    event_id uuid NOT NULL,
    reaction text NOT NULL,
    type text NOT NULL,
    key text NOT NULL,
    payload bytea NOT NULL,
    attempts integer DEFAULT 1 NOT NULL,
    due_at timestamp with time zone NOT NULL,
    parked_at timestamp with time zone,
    error text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    request_id text DEFAULT ''::text NOT NULL,
    traceparent text DEFAULT ''::text NOT NULL,
    CONSTRAINT deliveries_attempts_check CHECK ((attempts > 0))
);

CREATE TABLE entries (
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    "position" bigint NOT NULL,
    cause uuid NOT NULL,
    kind text NOT NULL,
    order_id uuid,
    data bytea NOT NULL,
    read_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL
)
WITH (fillfactor='90');

CREATE TABLE idempotency_keys (
    principal text NOT NULL,
    key text NOT NULL,
    fingerprint bytea NOT NULL,
    status integer,
    body bytea,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT idempotency_keys_key_check CHECK (((length(key) >= 1) AND (length(key) <= 255)))
)
WITH (fillfactor='80');

CREATE TABLE inbox (
    event_id uuid NOT NULL,
    reaction text NOT NULL,
    handled_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE messages (
    id uuid NOT NULL,
    cause uuid NOT NULL,
    kind text NOT NULL,
    channel text NOT NULL,
    user_id uuid,
    recipient text,
    order_id uuid,
    data bytea,
    status text NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    resends integer DEFAULT 0 NOT NULL,
    error text,
    queued_at timestamp with time zone DEFAULT now() NOT NULL,
    due_at timestamp with time zone,
    leased_until timestamp with time zone,
    sent_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    erased_at timestamp with time zone,
    CONSTRAINT erased_holds_nobody CHECK (
CASE
    WHEN (erased_at IS NULL) THEN (num_nulls(recipient, data) = 0)
    ELSE ((num_nonnulls(user_id, recipient, data, error) = 0) AND (status <> 'queued'::text))
END),
    CONSTRAINT messages_attempts_check CHECK ((attempts >= 0)),
    CONSTRAINT messages_channel_check CHECK ((channel = 'email'::text)),
    CONSTRAINT messages_resends_check CHECK ((resends >= 0)),
    CONSTRAINT messages_status_check CHECK ((status = ANY (ARRAY['queued'::text, 'sent'::text, 'failed'::text]))),
    CONSTRAINT only_queued_is_leased CHECK (((leased_until IS NULL) OR (status = 'queued'::text))),
    CONSTRAINT queued_has_a_next_attempt CHECK (((status = 'queued'::text) = (due_at IS NOT NULL))),
    CONSTRAINT sent_has_its_time CHECK (((status <> 'sent'::text) OR (sent_at IS NOT NULL)))
)
WITH (fillfactor='85');

CREATE TABLE outbox (
    "position" bigint NOT NULL,
    event_id uuid NOT NULL,
    type text NOT NULL,
    key text NOT NULL,
    payload bytea NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    request_id text DEFAULT ''::text NOT NULL,
    traceparent text DEFAULT ''::text NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='2000');

ALTER TABLE outbox ALTER COLUMN "position" ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME outbox_position_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE people (
    user_id uuid NOT NULL,
    last_position bigint DEFAULT 0 NOT NULL,
    muted text[] DEFAULT '{}'::text[] NOT NULL,
    erased_at timestamp with time zone,
    CONSTRAINT erased_has_no_preferences CHECK (((erased_at IS NULL) OR (muted = '{}'::text[])))
)
WITH (fillfactor='70', autovacuum_vacuum_scale_factor='0.1');

ALTER TABLE ONLY deliveries
    ADD CONSTRAINT deliveries_pkey PRIMARY KEY (event_id, reaction);

ALTER TABLE ONLY entries
    ADD CONSTRAINT entries_pkey PRIMARY KEY (id);

ALTER TABLE ONLY entries
    ADD CONSTRAINT entry_once_per_cause UNIQUE (cause, kind);

ALTER TABLE ONLY entries
    ADD CONSTRAINT entry_position UNIQUE (user_id, "position");

ALTER TABLE ONLY idempotency_keys
    ADD CONSTRAINT idempotency_keys_pkey PRIMARY KEY (principal, key);

ALTER TABLE ONLY inbox
    ADD CONSTRAINT inbox_pkey PRIMARY KEY (event_id, reaction);

ALTER TABLE ONLY messages
    ADD CONSTRAINT message_once_per_cause UNIQUE NULLS NOT DISTINCT (order_id, cause, kind, channel);

ALTER TABLE ONLY messages
    ADD CONSTRAINT messages_pkey PRIMARY KEY (id);

ALTER TABLE ONLY outbox
    ADD CONSTRAINT outbox_pkey PRIMARY KEY ("position");

ALTER TABLE ONLY people
    ADD CONSTRAINT people_pkey PRIMARY KEY (user_id);

CREATE INDEX deliveries_due_at ON deliveries USING btree (due_at) WHERE (parked_at IS NULL);

CREATE INDEX entries_created_at ON entries USING brin (created_at);

CREATE INDEX idempotency_keys_created_at ON idempotency_keys USING brin (created_at);

CREATE INDEX inbox_handled_at ON inbox USING brin (handled_at);

CREATE INDEX messages_due_at ON messages USING btree (due_at) WHERE (status = 'queued'::text);

CREATE INDEX messages_kind ON messages USING btree (kind, id) WHERE (kind <> 'order_confirmed'::text);

CREATE INDEX messages_not_sent ON messages USING btree (status, id) WHERE (status <> 'sent'::text);

CREATE INDEX messages_recipient ON messages USING btree (lower(recipient), id);

CREATE INDEX messages_user_id ON messages USING btree (user_id, id) WHERE (user_id IS NOT NULL);

CREATE INDEX people_erased_at ON people USING btree (erased_at) WHERE (erased_at IS NOT NULL);
