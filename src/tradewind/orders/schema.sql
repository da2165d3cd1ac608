-- The schema of orders, as its migrations and the platform's make it. Written by
-- `python -m tests.architecture.write_schemas`; never edited: write a migration instead.

CREATE TABLE cart_lines (
    cart_id uuid NOT NULL,
    sku text NOT NULL,
    quantity integer NOT NULL,
    added_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT cart_lines_quantity_check CHECK ((quantity > 0))
);

CREATE TABLE carts (
    id uuid NOT NULL,
    token_hash bytea NOT NULL,
    user_id uuid,
    currency text,
    state text DEFAULT 'open'::text NOT NULL,
    order_id uuid,
    version integer DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT carts_state_check CHECK ((state = ANY (ARRAY['open'::text, 'checking_out'::text, 'checked_out'::text])))
)
WITH (fillfactor='80');

CREATE TABLE checkouts (
    id uuid NOT NULL,
    order_id uuid NOT NULL,
    state text DEFAULT 'open'::text NOT NULL,
    principal text NOT NULL,
    key text NOT NULL,
    provider text NOT NULL,
    amount_minor bigint NOT NULL,
    currency text NOT NULL,
    draft bytea,
    due_at timestamp with time zone NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT checkouts_amount_minor_check CHECK ((amount_minor >= 0)),
    CONSTRAINT checkouts_state_check CHECK ((state = ANY (ARRAY['open'::text, 'declined'::text]))),
    CONSTRAINT open_has_draft CHECK (((state = 'open'::text) = (draft IS NOT NULL)))
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

CREATE TABLE fulfillments (
    id uuid NOT NULL,
    order_id uuid NOT NULL,
    lines jsonb NOT NULL,
    carrier text,
    tracking text,
    status text DEFAULT 'shipped'::text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    delivered_at timestamp with time zone,
    CONSTRAINT fulfillments_status_check CHECK ((status = ANY (ARRAY['shipped'::text, 'delivered'::text])))
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

CREATE TABLE order_lines (
    order_id uuid NOT NULL,
    "position" integer NOT NULL,
    sku text NOT NULL,
    title text NOT NULL,
    quantity integer NOT NULL,
    unit_price_minor bigint NOT NULL,
    total_minor bigint NOT NULL,
    fulfilled_quantity integer DEFAULT 0 NOT NULL,
    refunded_quantity integer DEFAULT 0 NOT NULL,
    CONSTRAINT line_total CHECK ((total_minor = (unit_price_minor * quantity))),
    CONSTRAINT never_more_than_sold CHECK ((((fulfilled_quantity >= 0) AND (fulfilled_quantity <= quantity)) AND ((refunded_quantity >= 0) AND (refunded_quantity <= quantity)))),
    CONSTRAINT order_lines_quantity_check CHECK ((quantity > 0)),
    CONSTRAINT order_lines_unit_price_minor_check CHECK ((unit_price_minor >= 0))
);

CREATE TABLE orders (
    id uuid NOT NULL,
    number text NOT NULL,
    user_id uuid,
    email text NOT NULL,
    status text NOT NULL,
    payment_status text NOT NULL,
    fulfillment_status text DEFAULT 'unfulfilled'::text NOT NULL,
    currency text NOT NULL,
    subtotal_minor bigint NOT NULL,
    discount_minor bigint DEFAULT 0 NOT NULL,
    shipping_minor bigint DEFAULT 0 NOT NULL,
    tax_minor bigint DEFAULT 0 NOT NULL,
    total_minor bigint NOT NULL,
    shipping_address jsonb NOT NULL,
    billing_address jsonb,
    reservation_id uuid NOT NULL,
    history jsonb NOT NULL,
    version integer DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT orders_check CHECK (((discount_minor >= 0) AND (discount_minor <= subtotal_minor))),
    CONSTRAINT orders_fulfillment_status_check CHECK ((fulfillment_status = ANY (ARRAY['unfulfilled'::text, 'partially_fulfilled'::text, 'fulfilled'::text, 'delivered'::text, 'returned'::text]))),
    CONSTRAINT orders_payment_status_check CHECK ((payment_status = ANY (ARRAY['pending'::text, 'authorized'::text, 'paid'::text, 'partially_refunded'::text, 'refunded'::text, 'failed'::text]))),
    CONSTRAINT orders_shipping_minor_check CHECK ((shipping_minor >= 0)),
    CONSTRAINT orders_status_check CHECK ((status = ANY (ARRAY['placed'::text, 'cancelled'::text]))),
    CONSTRAINT orders_subtotal_minor_check CHECK ((subtotal_minor >= 0)),
    CONSTRAINT orders_tax_minor_check CHECK ((tax_minor >= 0)),
    CONSTRAINT total_is_the_sum CHECK ((total_minor = (((subtotal_minor - discount_minor) + shipping_minor) + tax_minor)))
)
WITH (fillfactor='90');

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

CREATE TABLE payments (
    id uuid NOT NULL,
    order_id uuid NOT NULL,
    provider text NOT NULL,
    state text NOT NULL,
    currency text NOT NULL,
    amount_minor bigint NOT NULL,
    authorized_minor bigint DEFAULT 0 NOT NULL,
    captured_minor bigint DEFAULT 0 NOT NULL,
    refunded_minor bigint DEFAULT 0 NOT NULL,
    reference text DEFAULT ''::text NOT NULL,
    tries integer DEFAULT 0 NOT NULL,
    due_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    capture_principal text,
    capture_key text,
    CONSTRAINT capture_key_is_whole CHECK (((capture_principal IS NULL) = (capture_key IS NULL))),
    CONSTRAINT payments_amount_minor_check CHECK ((amount_minor >= 0)),
    CONSTRAINT payments_state_check CHECK ((state = ANY (ARRAY['pending'::text, 'unclear'::text, 'authorized'::text, 'capturing'::text, 'captured'::text, 'failed'::text, 'voided'::text]))),
    CONSTRAINT refunded_captured_authorized CHECK (((0 <= refunded_minor) AND (refunded_minor <= captured_minor) AND (captured_minor <= authorized_minor) AND (authorized_minor <= amount_minor)))
);

CREATE TABLE refunds (
    id uuid NOT NULL,
    order_id uuid NOT NULL,
    payment_id uuid NOT NULL,
    amount_minor bigint NOT NULL,
    currency text NOT NULL,
    reason text NOT NULL,
    lines jsonb,
    state text DEFAULT 'pending'::text NOT NULL,
    tries integer DEFAULT 0 NOT NULL,
    due_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT pending_is_due CHECK (((state = 'pending'::text) = (due_at IS NOT NULL))),
    CONSTRAINT refunds_amount_minor_check CHECK ((amount_minor >= 0)),
    CONSTRAINT refunds_state_check CHECK ((state = ANY (ARRAY['pending'::text, 'settled'::text])))
);

CREATE TABLE test_provider_charges (
    attempt_id uuid NOT NULL,
    order_id uuid NOT NULL,
    token text NOT NULL,
    verdict text NOT NULL,
    amount_minor bigint NOT NULL,
    captured_minor bigint NOT NULL,
    currency text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT test_provider_charges_verdict_check CHECK ((verdict = ANY (ARRAY['captured'::text, 'authorized'::text, 'pending'::text, 'declined'::text])))
);

CREATE TABLE test_provider_refunds (
    refund_id uuid NOT NULL,
    attempt_id uuid NOT NULL,
    amount_minor bigint NOT NULL,
    CONSTRAINT test_provider_refunds_amount_minor_check CHECK ((amount_minor >= 0))
);

CREATE TABLE transfers (
    id uuid NOT NULL,
    order_id uuid NOT NULL,
    kind text NOT NULL,
    debit text NOT NULL,
    credit text NOT NULL,
    amount_minor bigint NOT NULL,
    currency text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT transfers_amount_minor_check CHECK ((amount_minor > 0)),
    CONSTRAINT transfers_check CHECK ((credit <> debit)),
    CONSTRAINT transfers_kind_check CHECK ((kind = ANY (ARRAY['capture'::text, 'refund'::text])))
);

CREATE TABLE webhook_receipts (
    provider text NOT NULL,
    notice_id text NOT NULL,
    received_at timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE ONLY cart_lines
    ADD CONSTRAINT cart_lines_pkey PRIMARY KEY (cart_id, sku);

ALTER TABLE ONLY carts
    ADD CONSTRAINT carts_pkey PRIMARY KEY (id);

ALTER TABLE ONLY checkouts
    ADD CONSTRAINT checkouts_pkey PRIMARY KEY (id);

ALTER TABLE ONLY deliveries
    ADD CONSTRAINT deliveries_pkey PRIMARY KEY (event_id, reaction);

ALTER TABLE ONLY fulfillments
    ADD CONSTRAINT fulfillments_pkey PRIMARY KEY (id);

ALTER TABLE ONLY idempotency_keys
    ADD CONSTRAINT idempotency_keys_pkey PRIMARY KEY (principal, key);

ALTER TABLE ONLY inbox
    ADD CONSTRAINT inbox_pkey PRIMARY KEY (event_id, reaction);

ALTER TABLE ONLY order_lines
    ADD CONSTRAINT order_lines_pkey PRIMARY KEY (order_id, "position");

ALTER TABLE ONLY orders
    ADD CONSTRAINT orders_number_key UNIQUE (number);

ALTER TABLE ONLY orders
    ADD CONSTRAINT orders_pkey PRIMARY KEY (id);

ALTER TABLE ONLY outbox
    ADD CONSTRAINT outbox_pkey PRIMARY KEY ("position");

ALTER TABLE ONLY payments
    ADD CONSTRAINT payments_order_id_key UNIQUE (order_id);

ALTER TABLE ONLY payments
    ADD CONSTRAINT payments_pkey PRIMARY KEY (id);

ALTER TABLE ONLY refunds
    ADD CONSTRAINT refunds_pkey PRIMARY KEY (id);

ALTER TABLE ONLY test_provider_charges
    ADD CONSTRAINT test_provider_charges_pkey PRIMARY KEY (attempt_id);

ALTER TABLE ONLY test_provider_refunds
    ADD CONSTRAINT test_provider_refunds_pkey PRIMARY KEY (refund_id);

ALTER TABLE ONLY transfers
    ADD CONSTRAINT transfers_pkey PRIMARY KEY (id);

ALTER TABLE ONLY webhook_receipts
    ADD CONSTRAINT webhook_receipts_pkey PRIMARY KEY (provider, notice_id);

CREATE INDEX carts_token_hash ON carts USING btree (token_hash);

CREATE INDEX carts_updated_at ON carts USING brin (updated_at);

CREATE INDEX carts_user_id ON carts USING btree (user_id) WHERE (user_id IS NOT NULL);

CREATE INDEX checkouts_due_at ON checkouts USING btree (due_at) WHERE (state = 'open'::text);

CREATE INDEX deliveries_due_at ON deliveries USING btree (due_at) WHERE (parked_at IS NULL);

CREATE INDEX fulfillments_order_id ON fulfillments USING btree (order_id);

CREATE INDEX idempotency_keys_created_at ON idempotency_keys USING brin (created_at);

CREATE INDEX inbox_handled_at ON inbox USING brin (handled_at);

CREATE INDEX orders_email ON orders USING btree (email);

CREATE INDEX orders_reservation_id ON orders USING hash (reservation_id);

CREATE INDEX orders_user_id ON orders USING btree (user_id, id) WHERE (user_id IS NOT NULL);

CREATE INDEX payments_due_at ON payments USING btree (due_at) WHERE (due_at IS NOT NULL);

CREATE INDEX refunds_due_at ON refunds USING btree (due_at) WHERE (due_at IS NOT NULL);

CREATE INDEX refunds_order_id ON refunds USING btree (order_id);

CREATE INDEX transfers_order_id ON transfers USING btree (order_id);

ALTER TABLE ONLY cart_lines
    ADD CONSTRAINT cart_lines_cart_id_fkey FOREIGN KEY (cart_id) REFERENCES carts(id) ON DELETE CASCADE;

ALTER TABLE ONLY fulfillments
    ADD CONSTRAINT fulfillments_order_id_fkey FOREIGN KEY (order_id) REFERENCES orders(id);

ALTER TABLE ONLY order_lines
    ADD CONSTRAINT order_lines_order_id_fkey FOREIGN KEY (order_id) REFERENCES orders(id);

ALTER TABLE ONLY payments
    ADD CONSTRAINT payments_order_id_fkey FOREIGN KEY (order_id) REFERENCES orders(id);

ALTER TABLE ONLY refunds
    ADD CONSTRAINT refunds_order_id_fkey FOREIGN KEY (order_id) REFERENCES orders(id);

ALTER TABLE ONLY refunds
    ADD CONSTRAINT refunds_payment_id_fkey FOREIGN KEY (payment_id) REFERENCES payments(id);

ALTER TABLE ONLY test_provider_refunds
    ADD CONSTRAINT test_provider_refunds_attempt_id_fkey FOREIGN KEY (attempt_id) REFERENCES test_provider_charges(attempt_id);
