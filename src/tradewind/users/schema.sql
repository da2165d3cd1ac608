-- The schema of users, as its migrations and the platform's make it. Written by
-- `python -m tests.architecture.write_schemas`; never edited: write a migration instead.

CREATE TABLE addresses (
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    name text NOT NULL,
    line1 text NOT NULL,
    line2 text,
    city text NOT NULL,
    region text,
    postal_code text NOT NULL,
    country text NOT NULL,
    phone text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT addresses_country_check CHECK ((country ~ '^[A-Z]{2}$'::text))
);

CREATE TABLE attempts (
    subject bytea NOT NULL,
    failures integer NOT NULL,
    ends_at timestamp with time zone NOT NULL,
    CONSTRAINT attempts_failures_check CHECK ((failures >= 0))
)
WITH (fillfactor='50', autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='1000');

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

CREATE TABLE forgotten_imports (
    imported_id text NOT NULL
);

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

CREATE TABLE reset_requests (
    id uuid NOT NULL,
    email_key text NOT NULL,
    requested_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE sessions (
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    token_hash bytea NOT NULL,
    user_agent text NOT NULL,
    address text NOT NULL,
    network text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    last_seen_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    CONSTRAINT sessions_address_check CHECK ((length(address) <= 100)),
    CONSTRAINT sessions_token_hash_check CHECK ((length(token_hash) = 32)),
    CONSTRAINT sessions_user_agent_check CHECK ((length(user_agent) <= 300))
)
WITH (fillfactor='90');

CREATE TABLE tokens (
    token_hash bytea NOT NULL,
    kind text NOT NULL,
    user_id uuid NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    CONSTRAINT tokens_kind_check CHECK ((kind = ANY (ARRAY['password_reset'::text, 'email_verification'::text]))),
    CONSTRAINT tokens_token_hash_check CHECK ((length(token_hash) = 32))
);

CREATE TABLE users (
    id uuid NOT NULL,
    username text,
    username_key text,
    email text,
    email_key text,
    email_verified_at timestamp with time zone,
    name text,
    role text DEFAULT 'customer'::text NOT NULL,
    password_hash text NOT NULL,
    disabled_at timestamp with time zone,
    told_at timestamp with time zone,
    imported_id text,
    version integer DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    search text GENERATED ALWAYS AS (lower(((((COALESCE(email, ''::text) || ' '::text) || COALESCE(username, ''::text)) || ' '::text) || COALESCE(name, ''::text)))) STORED NOT NULL,
    CONSTRAINT users_check CHECK ((email_key = lower(email))),
    CONSTRAINT users_check1 CHECK ((num_nonnulls(username, email) > 0)),
    CONSTRAINT users_check2 CHECK (((username IS NULL) = (username_key IS NULL))),
    CONSTRAINT users_check3 CHECK (((email IS NULL) = (email_key IS NULL))),
    CONSTRAINT users_check4 CHECK (((email IS NOT NULL) OR (email_verified_at IS NULL))),
    CONSTRAINT users_email_check CHECK (((length(email) >= 3) AND (length(email) <= 254))),
    CONSTRAINT users_name_check CHECK (((length(name) >= 1) AND (length(name) <= 200))),
    CONSTRAINT users_role_check CHECK ((role = ANY (ARRAY['customer'::text, 'staff'::text, 'admin'::text]))),
    CONSTRAINT users_username_check CHECK (((length(username) >= 1) AND (length(username) <= 255))),
    CONSTRAINT users_username_key_check CHECK ((((length(username_key) >= 1) AND (length(username_key) <= 255)) AND (POSITION(('@'::text) IN (username_key)) = 0)))
);

ALTER TABLE ONLY addresses
    ADD CONSTRAINT addresses_pkey PRIMARY KEY (id);

ALTER TABLE ONLY attempts
    ADD CONSTRAINT attempts_pkey PRIMARY KEY (subject);

ALTER TABLE ONLY deliveries
    ADD CONSTRAINT deliveries_pkey PRIMARY KEY (event_id, reaction);

ALTER TABLE ONLY forgotten_imports
    ADD CONSTRAINT forgotten_imports_pkey PRIMARY KEY (imported_id);

ALTER TABLE ONLY idempotency_keys
    ADD CONSTRAINT idempotency_keys_pkey PRIMARY KEY (principal, key);

ALTER TABLE ONLY inbox
    ADD CONSTRAINT inbox_pkey PRIMARY KEY (event_id, reaction);

ALTER TABLE ONLY outbox
    ADD CONSTRAINT outbox_pkey PRIMARY KEY ("position");

ALTER TABLE ONLY reset_requests
    ADD CONSTRAINT reset_requests_pkey PRIMARY KEY (id);

ALTER TABLE ONLY sessions
    ADD CONSTRAINT sessions_pkey PRIMARY KEY (id);

ALTER TABLE ONLY sessions
    ADD CONSTRAINT sessions_token_hash_key UNIQUE (token_hash);

ALTER TABLE ONLY tokens
    ADD CONSTRAINT tokens_pkey PRIMARY KEY (token_hash);

ALTER TABLE ONLY users
    ADD CONSTRAINT users_email_key_key UNIQUE (email_key);

ALTER TABLE ONLY users
    ADD CONSTRAINT users_imported_id_key UNIQUE (imported_id);

ALTER TABLE ONLY users
    ADD CONSTRAINT users_pkey PRIMARY KEY (id);

ALTER TABLE ONLY users
    ADD CONSTRAINT users_username_key_key UNIQUE (username_key);

CREATE INDEX addresses_user ON addresses USING btree (user_id, id);

CREATE INDEX deliveries_due_at ON deliveries USING btree (due_at) WHERE (parked_at IS NULL);

CREATE INDEX idempotency_keys_created_at ON idempotency_keys USING brin (created_at);

CREATE INDEX inbox_handled_at ON inbox USING brin (handled_at);

CREATE INDEX sessions_expires_at ON sessions USING btree (expires_at);

CREATE INDEX sessions_network ON sessions USING btree (user_id, network);

CREATE INDEX sessions_user ON sessions USING btree (user_id, id);

CREATE INDEX tokens_expires_at ON tokens USING btree (expires_at);

CREATE INDEX tokens_user ON tokens USING btree (user_id, kind);

CREATE INDEX users_role ON users USING btree (role, id) WHERE (role <> 'customer'::text);

CREATE INDEX users_search ON users USING gin (search public.gin_trgm_ops);

ALTER TABLE ONLY addresses
    ADD CONSTRAINT addresses_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE;

ALTER TABLE ONLY sessions
    ADD CONSTRAINT sessions_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE;

ALTER TABLE ONLY tokens
    ADD CONSTRAINT tokens_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE;
