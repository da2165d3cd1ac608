-- The schema of products, as its migrations and the platform's make it. Written by
-- `python -m tests.architecture.write_schemas`; never edited: write a migration instead.

CREATE TABLE categories (
    id uuid NOT NULL,
    parent_id uuid,
    slug text NOT NULL,
    name text NOT NULL,
    "position" integer DEFAULT 0 NOT NULL,
    CONSTRAINT categories_name_check CHECK (((length(name) >= 1) AND (length(name) <= 100))),
    CONSTRAINT categories_not_own_parent CHECK ((parent_id <> id)),
    CONSTRAINT categories_slug_check CHECK (((slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$'::text) AND (length(slug) <= 120)))
);

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

CREATE TABLE images (
    product_id uuid NOT NULL,
    "position" integer NOT NULL,
    url text NOT NULL,
    alt text DEFAULT ''::text NOT NULL
);

CREATE TABLE inbox (
    event_id uuid NOT NULL,
    reaction text NOT NULL,
    handled_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE movements (
    id uuid NOT NULL,
    sku text NOT NULL,
    delta bigint NOT NULL,
    reason text NOT NULL,
    order_id uuid,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT movements_delta_check CHECK ((delta <> 0)),
    CONSTRAINT movements_reason_check CHECK ((reason = ANY (ARRAY['received'::text, 'sold'::text, 'sold_elsewhere'::text, 'damaged'::text, 'counted'::text, 'returned'::text])))
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

CREATE TABLE placements (
    product_id uuid NOT NULL,
    category_id uuid NOT NULL,
    direct boolean NOT NULL,
    status text NOT NULL,
    price_minor bigint NOT NULL,
    title_key text NOT NULL COLLATE pg_catalog."C"
);

CREATE TABLE products (
    id uuid NOT NULL,
    slug text NOT NULL,
    title text NOT NULL,
    title_key text NOT NULL COLLATE pg_catalog."C",
    description text DEFAULT ''::text NOT NULL,
    status text NOT NULL,
    attributes jsonb DEFAULT '{}'::jsonb NOT NULL,
    price_minor bigint NOT NULL,
    currency text NOT NULL,
    import_key text,
    search tsvector NOT NULL,
    version integer DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT products_currency_check CHECK ((currency ~ '^[A-Z]{3}$'::text)),
    CONSTRAINT products_price_minor_check CHECK ((price_minor >= 0)),
    CONSTRAINT products_slug_check CHECK (((slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$'::text) AND (length(slug) <= 120))),
    CONSTRAINT products_status_check CHECK ((status = ANY (ARRAY['draft'::text, 'active'::text, 'archived'::text]))),
    CONSTRAINT products_title_check CHECK (((length(title) >= 1) AND (length(title) <= 300)))
);

CREATE TABLE reservations (
    id uuid NOT NULL,
    state text NOT NULL,
    lines jsonb NOT NULL,
    expires_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    settled_at timestamp with time zone,
    CONSTRAINT only_held_expires CHECK (((state = 'held'::text) = (expires_at IS NOT NULL))),
    CONSTRAINT reservations_state_check CHECK ((state = ANY (ARRAY['held'::text, 'kept'::text, 'confirmed'::text, 'released'::text, 'expired'::text, 'cancelled'::text, 'lost'::text])))
)
WITH (fillfactor='80');

CREATE TABLE stock (
    sku text NOT NULL,
    on_hand bigint DEFAULT 0 NOT NULL,
    reserved bigint DEFAULT 0 NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT never_oversold CHECK ((on_hand >= reserved)),
    CONSTRAINT reserved_not_negative CHECK ((reserved >= 0))
)
WITH (fillfactor='50', autovacuum_vacuum_scale_factor='0.1');

CREATE TABLE variants (
    sku text NOT NULL,
    product_id uuid NOT NULL,
    title text DEFAULT ''::text NOT NULL,
    options jsonb DEFAULT '{}'::jsonb NOT NULL,
    price_minor bigint NOT NULL,
    currency text NOT NULL,
    compare_at_minor bigint,
    "position" integer NOT NULL,
    CONSTRAINT variants_compare_at_minor_check CHECK ((compare_at_minor >= 0)),
    CONSTRAINT variants_currency_check CHECK ((currency ~ '^[A-Z]{3}$'::text)),
    CONSTRAINT variants_price_minor_check CHECK ((price_minor >= 0)),
    CONSTRAINT variants_sku_check CHECK ((sku ~ '^[A-Za-z0-9]([A-Za-z0-9 ._:+-]{0,62}[A-Za-z0-9._:+-])?$'::text))
);

CREATE TABLE words (
    word text NOT NULL
);

ALTER TABLE ONLY categories
    ADD CONSTRAINT categories_pkey PRIMARY KEY (id);

ALTER TABLE ONLY categories
    ADD CONSTRAINT categories_sibling_names UNIQUE NULLS NOT DISTINCT (parent_id, name);

ALTER TABLE ONLY categories
    ADD CONSTRAINT categories_slug_key UNIQUE (slug);

ALTER TABLE ONLY deliveries
    ADD CONSTRAINT deliveries_pkey PRIMARY KEY (event_id, reaction);

ALTER TABLE ONLY idempotency_keys
    ADD CONSTRAINT idempotency_keys_pkey PRIMARY KEY (principal, key);

ALTER TABLE ONLY images
    ADD CONSTRAINT images_pkey PRIMARY KEY (product_id, "position");

ALTER TABLE ONLY inbox
    ADD CONSTRAINT inbox_pkey PRIMARY KEY (event_id, reaction);

ALTER TABLE ONLY movements
    ADD CONSTRAINT movements_pkey PRIMARY KEY (id);

ALTER TABLE ONLY outbox
    ADD CONSTRAINT outbox_pkey PRIMARY KEY ("position");

ALTER TABLE ONLY placements
    ADD CONSTRAINT placements_pkey PRIMARY KEY (product_id, category_id);

ALTER TABLE ONLY products
    ADD CONSTRAINT products_pkey PRIMARY KEY (id);

ALTER TABLE ONLY products
    ADD CONSTRAINT products_slug_key UNIQUE (slug);

ALTER TABLE ONLY reservations
    ADD CONSTRAINT reservations_pkey PRIMARY KEY (id);

ALTER TABLE ONLY stock
    ADD CONSTRAINT stock_pkey PRIMARY KEY (sku);

ALTER TABLE ONLY variants
    ADD CONSTRAINT variants_pkey PRIMARY KEY (sku);

ALTER TABLE ONLY words
    ADD CONSTRAINT words_pkey PRIMARY KEY (word);

CREATE INDEX deliveries_due_at ON deliveries USING btree (due_at) WHERE (parked_at IS NULL);

CREATE INDEX idempotency_keys_created_at ON idempotency_keys USING brin (created_at);

CREATE INDEX inbox_handled_at ON inbox USING brin (handled_at);

CREATE INDEX movements_sku ON movements USING btree (sku, id);

CREATE INDEX placements_newest ON placements USING btree (category_id, status, product_id);

CREATE INDEX placements_price ON placements USING btree (category_id, status, price_minor, product_id);

CREATE INDEX placements_title ON placements USING btree (category_id, status, title_key, product_id);

CREATE UNIQUE INDEX products_import_key ON products USING btree (import_key) WHERE (import_key IS NOT NULL);

CREATE INDEX products_newest ON products USING btree (status, id);

CREATE INDEX products_price ON products USING btree (status, price_minor, id);

CREATE INDEX products_search ON products USING gin (search) WITH (gin_pending_list_limit='512');

CREATE INDEX products_title ON products USING btree (status, title_key, id);

CREATE INDEX reservations_expires_at ON reservations USING btree (expires_at) WHERE (state = 'held'::text);

CREATE INDEX reservations_settled_at ON reservations USING brin (settled_at);

CREATE INDEX variants_any_case ON variants USING btree (lower(sku));

CREATE INDEX variants_currency ON variants USING btree (currency);

CREATE INDEX variants_product_id ON variants USING btree (product_id, "position");

CREATE INDEX words_similar ON words USING gin (word public.gin_trgm_ops);

ALTER TABLE ONLY categories
    ADD CONSTRAINT categories_parent_id_fkey FOREIGN KEY (parent_id) REFERENCES categories(id);

ALTER TABLE ONLY images
    ADD CONSTRAINT images_product_id_fkey FOREIGN KEY (product_id) REFERENCES products(id);

ALTER TABLE ONLY stock
    ADD CONSTRAINT stock_sku_fkey FOREIGN KEY (sku) REFERENCES variants(sku);

ALTER TABLE ONLY variants
    ADD CONSTRAINT variants_product_id_fkey FOREIGN KEY (product_id) REFERENCES products(id);
