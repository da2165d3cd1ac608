-- Stock: a level for each variant, the ledger of what changed it, and what is reserved.

CREATE TABLE stock (
    sku text PRIMARY KEY REFERENCES variants,
    on_hand bigint NOT NULL DEFAULT 0,
    reserved bigint NOT NULL DEFAULT 0,
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT reserved_not_negative CHECK (reserved >= 0),
    CONSTRAINT never_oversold CHECK (on_hand >= reserved)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.1);

-- Every change of on_hand. No foreign key: its check would lock the level again for every line
-- sold; invariants.sql holds the two together.
CREATE TABLE movements (
    id uuid PRIMARY KEY,
    sku text NOT NULL,
    delta bigint NOT NULL CHECK (delta <> 0),
    reason text NOT NULL CHECK (
        reason IN ('received', 'sold', 'sold_elsewhere', 'damaged', 'counted', 'returned')),
    order_id uuid,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX movements_sku ON movements (sku, id);

CREATE TABLE reservations (
    id uuid PRIMARY KEY,
    state text NOT NULL CHECK (
        state IN ('held', 'kept', 'confirmed', 'released', 'expired', 'cancelled', 'lost')),
    lines jsonb NOT NULL,  -- {sku: quantity}
    expires_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    settled_at timestamptz,
    CONSTRAINT only_held_expires CHECK ((state = 'held') = (expires_at IS NOT NULL))
) WITH (fillfactor = 80);
CREATE INDEX reservations_expires_at ON reservations (expires_at) WHERE state = 'held';
CREATE INDEX reservations_settled_at ON reservations USING brin (settled_at);

-- Whether anything is priced in a currency, however large the catalogue is.
CREATE INDEX variants_currency ON variants (currency);
