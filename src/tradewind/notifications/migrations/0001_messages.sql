-- What people are told: a row for each person, the entries of their inboxes, and every mail.

-- Whoever writes for a person locks this row first, so entries are committed in the order of their
-- positions: a reader who has seen position n will never meet a smaller one later.
CREATE TABLE people (
    user_id uuid PRIMARY KEY,
    last_position bigint NOT NULL DEFAULT 0,
    muted text[] NOT NULL DEFAULT '{}',  -- what was switched off, each 'kind:channel'
    erased_at timestamptz,
    CONSTRAINT erased_has_no_preferences CHECK (erased_at IS NULL OR muted = '{}')
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.1);
CREATE INDEX people_erased_at ON people (erased_at) WHERE erased_at IS NOT NULL;

CREATE TABLE entries (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL,
    position bigint NOT NULL,
    cause uuid NOT NULL,
    kind text NOT NULL,
    order_id uuid,
    data bytea NOT NULL,  -- the facts, as JSON; the words are found when it is read
    read_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT entry_position UNIQUE (user_id, position),
    CONSTRAINT entry_once_per_cause UNIQUE (cause, kind)
) WITH (fillfactor = 90);
CREATE INDEX entries_created_at ON entries USING brin (created_at);

CREATE TABLE messages (
    id uuid PRIMARY KEY,
    cause uuid NOT NULL,
    kind text NOT NULL,
    channel text NOT NULL CHECK (channel IN ('email')),
    user_id uuid,
    recipient text,
    order_id uuid,
    data bytea,  -- the facts, as JSON; rendered when it is sent or read
    status text NOT NULL CHECK (status IN ('queued', 'sent', 'failed')),
    attempts int NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    resends int NOT NULL DEFAULT 0 CHECK (resends >= 0),
    error text,
    queued_at timestamptz NOT NULL DEFAULT now(),
    due_at timestamptz,        -- the next attempt
    leased_until timestamptz,  -- whoever claimed it has it for so long
    sent_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    erased_at timestamptz,
    -- The order stands first so that this index also finds what was written about an order.
    CONSTRAINT message_once_per_cause UNIQUE NULLS NOT DISTINCT (order_id, cause, kind, channel),
    CONSTRAINT queued_has_a_next_attempt CHECK ((status = 'queued') = (due_at IS NOT NULL)),
    CONSTRAINT only_queued_is_leased CHECK (leased_until IS NULL OR status = 'queued'),
    CONSTRAINT sent_has_its_time CHECK (status <> 'sent' OR sent_at IS NOT NULL),
    CONSTRAINT erased_holds_nobody CHECK (
        CASE WHEN erased_at IS NULL THEN num_nulls(recipient, data) = 0
        ELSE num_nonnulls(user_id, recipient, data, error) = 0 AND status <> 'queued' END)
) WITH (fillfactor = 85);
CREATE INDEX messages_recipient ON messages (lower(recipient), id);
CREATE INDEX messages_user_id ON messages (user_id, id) WHERE user_id IS NOT NULL;
-- Order confirmations are most of all mails: whoever looks for them finds them without an index.
CREATE INDEX messages_kind ON messages (kind, id) WHERE kind <> 'order_confirmed';
CREATE INDEX messages_not_sent ON messages (status, id) WHERE status <> 'sent';
CREATE INDEX messages_due_at ON messages (due_at) WHERE status = 'queued';
