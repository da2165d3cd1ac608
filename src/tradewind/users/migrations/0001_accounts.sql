-- Accounts, their sessions, addresses and one-time tokens, failed sign-ins, and what an import did.
-- Keys (username_key, email_key) are made by the program, whose idea of letters is the same
-- everywhere.

CREATE TABLE users (
    id uuid PRIMARY KEY,
    username text CHECK (length(username) BETWEEN 1 AND 255),
    username_key text UNIQUE CHECK (length(username_key) BETWEEN 1 AND 255
        AND position('@' IN username_key) = 0),
    email text CHECK (length(email) BETWEEN 3 AND 254),
    email_key text UNIQUE CHECK (email_key = lower(email)),
    email_verified_at timestamptz,
    name text CHECK (length(name) BETWEEN 1 AND 200),
    role text NOT NULL DEFAULT 'customer' CHECK (role IN ('customer', 'staff', 'admin')),
    password_hash text NOT NULL,
    disabled_at timestamptz,
    -- When the owner was last told that somebody tried to register this address.
    told_at timestamptz,
    imported_id text UNIQUE,
    version int NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    search text NOT NULL GENERATED ALWAYS AS (
        lower(coalesce(email, '') || ' ' || coalesce(username, '') || ' ' || coalesce(name, ''))
    ) STORED,
    CHECK (num_nonnulls(username, email) > 0),
    CHECK ((username IS NULL) = (username_key IS NULL)),
    CHECK ((email IS NULL) = (email_key IS NULL)),
    CHECK (email IS NOT NULL OR email_verified_at IS NULL)
);
CREATE INDEX users_search ON users USING gin (search public.gin_trgm_ops);
CREATE INDEX users_role ON users (role, id) WHERE role <> 'customer';

CREATE TABLE sessions (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    -- SHA-256 of the token; the token itself is kept nowhere.
    token_hash bytea NOT NULL UNIQUE CHECK (length(token_hash) = 32),
    user_agent text NOT NULL CHECK (length(user_agent) <= 300),
    address text NOT NULL CHECK (length(address) <= 100),
    -- What counts as one client: the address, or its /64 in IPv6.
    network text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    last_seen_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
) WITH (fillfactor = 90);
CREATE INDEX sessions_user ON sessions (user_id, id);
CREATE INDEX sessions_network ON sessions (user_id, network);
CREATE INDEX sessions_expires_at ON sessions (expires_at);

-- Failed sign-ins by account and by client; `subject` is an HMAC, so that no name or address
-- can be read from it.
CREATE TABLE attempts (
    subject bytea PRIMARY KEY,
    failures int NOT NULL CHECK (failures >= 0),
    ends_at timestamptz NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

CREATE TABLE tokens (
    token_hash bytea PRIMARY KEY CHECK (length(token_hash) = 32),
    kind text NOT NULL CHECK (kind IN ('password_reset', 'email_verification')),
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);
CREATE INDEX tokens_user ON tokens (user_id, kind);
CREATE INDEX tokens_expires_at ON tokens (expires_at);

-- Somebody wants a password reset. Whether there is such an account is looked up later, so that
-- the answer tells nothing, not even by its time.
CREATE TABLE reset_requests (
    id uuid PRIMARY KEY,
    email_key text NOT NULL,
    requested_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE addresses (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    name text NOT NULL,
    line1 text NOT NULL,
    line2 text,
    city text NOT NULL,
    region text,
    postal_code text NOT NULL,
    country text NOT NULL CHECK (country ~ '^[A-Z]{2}$'),
    phone text,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX addresses_user ON addresses (user_id, id);

-- Imported accounts that were erased: a repeated import does not bring them back.
CREATE TABLE forgotten_imports (
    imported_id text PRIMARY KEY
);
