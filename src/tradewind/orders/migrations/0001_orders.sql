-- Carts, checkouts under way, orders and their money. Amounts are minor units.

CREATE TABLE carts (
    id uuid PRIMARY KEY,
    token_hash bytea NOT NULL,
    user_id uuid,
    currency text,
    state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'checking_out', 'checked_out')),
    order_id uuid,
    version int NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 80);
CREATE INDEX carts_token_hash ON carts (token_hash);
CREATE INDEX carts_user_id ON carts (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX carts_updated_at ON carts USING brin (updated_at);

CREATE TABLE cart_lines (
    cart_id uuid NOT NULL REFERENCES carts ON DELETE CASCADE,
    sku text NOT NULL,
    quantity int NOT NULL CHECK (quantity > 0),
    added_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (cart_id, sku)
);

-- A payment attempt, saved before the provider is called. Its row goes when the order stands;
-- declined ones stay without their draft.
CREATE TABLE checkouts (
    id uuid PRIMARY KEY,
    order_id uuid NOT NULL,
    state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'declined')),
    principal text NOT NULL,
    key text NOT NULL,
    provider text NOT NULL,
    amount_minor bigint NOT NULL CHECK (amount_minor >= 0),
    currency text NOT NULL,
    draft bytea,
    due_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT open_has_draft CHECK ((state = 'open') = (draft IS NOT NULL))
);
CREATE INDEX checkouts_due_at ON checkouts (due_at) WHERE state = 'open';

CREATE TABLE orders (
    id uuid PRIMARY KEY,
    number text NOT NULL UNIQUE,
    user_id uuid,
    email text NOT NULL,
    status text NOT NULL CHECK (status IN ('placed', 'cancelled')),
    payment_status text NOT NULL CHECK (payment_status IN
        ('pending', 'authorized', 'paid', 'partially_refunded', 'refunded', 'failed')),
    fulfillment_status text NOT NULL DEFAULT 'unfulfilled' CHECK (fulfillment_status IN
        ('unfulfilled', 'partially_fulfilled', 'fulfilled', 'delivered', 'returned')),
    currency text NOT NULL,
    subtotal_minor bigint NOT NULL CHECK (subtotal_minor >= 0),
    discount_minor bigint NOT NULL DEFAULT 0 CHECK (discount_minor BETWEEN 0 AND subtotal_minor),
    shipping_minor bigint NOT NULL DEFAULT 0 CHECK (shipping_minor >= 0),
    tax_minor bigint NOT NULL DEFAULT 0 CHECK (tax_minor >= 0),
    total_minor bigint NOT NULL,
    shipping_address jsonb NOT NULL,
    billing_address jsonb,
    reservation_id uuid NOT NULL,
    history jsonb NOT NULL,
    version int NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT total_is_the_sum
        CHECK (total_minor = subtotal_minor - discount_minor + shipping_minor + tax_minor)
) WITH (fillfactor = 90);
CREATE INDEX orders_user_id ON orders (user_id, id) WHERE user_id IS NOT NULL;
CREATE INDEX orders_email ON orders (email);

CREATE TABLE order_lines (
    order_id uuid NOT NULL REFERENCES orders,
    position int NOT NULL,
    sku text NOT NULL,
    title text NOT NULL,
    quantity int NOT NULL CHECK (quantity > 0),
    unit_price_minor bigint NOT NULL CHECK (unit_price_minor >= 0),
    total_minor bigint NOT NULL,
    fulfilled_quantity int NOT NULL DEFAULT 0,
    refunded_quantity int NOT NULL DEFAULT 0,
    PRIMARY KEY (order_id, position),
    CONSTRAINT line_total CHECK (total_minor = unit_price_minor * quantity),
    CONSTRAINT never_more_than_sold CHECK (
        fulfilled_quantity BETWEEN 0 AND quantity AND refunded_quantity BETWEEN 0 AND quantity)
);

CREATE TABLE payments (
    id uuid PRIMARY KEY,
    order_id uuid NOT NULL UNIQUE REFERENCES orders,
    provider text NOT NULL,
    state text NOT NULL CHECK (
        state IN ('pending', 'unclear', 'authorized', 'capturing', 'captured', 'failed', 'voided')),
    currency text NOT NULL,
    amount_minor bigint NOT NULL CHECK (amount_minor >= 0),
    authorized_minor bigint NOT NULL DEFAULT 0,
    captured_minor bigint NOT NULL DEFAULT 0,
    refunded_minor bigint NOT NULL DEFAULT 0,
    reference text NOT NULL DEFAULT '',
    tries int NOT NULL DEFAULT 0,
    due_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT refunded_captured_authorized CHECK (
        0 <= refunded_minor AND refunded_minor <= captured_minor
        AND captured_minor <= authorized_minor AND authorized_minor <= amount_minor)
);
CREATE INDEX payments_due_at ON payments (due_at) WHERE due_at IS NOT NULL;

-- Double entry: every movement of money is one row with both accounts, so the ledger sums to 0.
CREATE TABLE transfers (
    id uuid PRIMARY KEY,
    order_id uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN ('capture', 'refund')),
    debit text NOT NULL,
    credit text NOT NULL CHECK (credit <> debit),
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    currency text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX transfers_order_id ON transfers (order_id);

CREATE TABLE refunds (
    id uuid PRIMARY KEY,
    order_id uuid NOT NULL REFERENCES orders,
    payment_id uuid NOT NULL REFERENCES payments,
    amount_minor bigint NOT NULL CHECK (amount_minor >= 0),
    currency text NOT NULL,
    reason text NOT NULL,
    lines jsonb,
    state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'settled')),
    tries int NOT NULL DEFAULT 0,
    due_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pending_is_due CHECK ((state = 'pending') = (due_at IS NOT NULL))
);
CREATE INDEX refunds_order_id ON refunds (order_id);
CREATE INDEX refunds_due_at ON refunds (due_at) WHERE due_at IS NOT NULL;

CREATE TABLE fulfillments (
    id uuid PRIMARY KEY,
    order_id uuid NOT NULL REFERENCES orders,
    lines jsonb NOT NULL,
    carrier text,
    tracking text,
    status text NOT NULL DEFAULT 'shipped' CHECK (status IN ('shipped', 'delivered')),
    created_at timestamptz NOT NULL DEFAULT now(),
    delivered_at timestamptz
);
CREATE INDEX fulfillments_order_id ON fulfillments (order_id);

CREATE TABLE webhook_receipts (
    provider text NOT NULL,
    notice_id text NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (provider, notice_id)
);

-- The test provider's own book, as a bank would have it: written in transactions of its own.
CREATE TABLE test_provider_charges (
    attempt_id uuid PRIMARY KEY,
    order_id uuid NOT NULL,
    token text NOT NULL,
    verdict text NOT NULL CHECK (verdict IN ('captured', 'authorized', 'pending', 'declined')),
    amount_minor bigint NOT NULL,
    captured_minor bigint NOT NULL,
    currency text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE test_provider_refunds (
    refund_id uuid PRIMARY KEY,
    attempt_id uuid NOT NULL REFERENCES test_provider_charges,
    amount_minor bigint NOT NULL CHECK (amount_minor >= 0)
);
