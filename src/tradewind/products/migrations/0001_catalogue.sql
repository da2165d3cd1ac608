-- The catalogue: products with their variants, categories and pictures, and what finds them.

CREATE TABLE products (
    id uuid PRIMARY KEY,
    slug text NOT NULL UNIQUE CHECK (slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$' AND length(slug) <= 120),
    title text NOT NULL CHECK (length(title) BETWEEN 1 AND 300),
    title_key text COLLATE "C" NOT NULL,  -- folded in Python: sorts alike under every locale
    description text NOT NULL DEFAULT '',
    status text NOT NULL CHECK (status IN ('draft', 'active', 'archived')),
    attributes jsonb NOT NULL DEFAULT '{}',
    price_minor bigint NOT NULL CHECK (price_minor >= 0),  -- of the cheapest variant
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    import_key text,  -- what an import calls a product with several variants
    search tsvector NOT NULL,
    version int NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX products_import_key ON products (import_key) WHERE import_key IS NOT NULL;
-- One index for each way to sort, so that a page costs the same however large the catalogue is.
CREATE INDEX products_newest ON products (status, id);
CREATE INDEX products_price ON products (status, price_minor, id);
CREATE INDEX products_title ON products (status, title_key, id);
-- A short pending list: searches read all of it, and an import fills it quickly.
CREATE INDEX products_search ON products USING gin (search) WITH (gin_pending_list_limit = 512);

CREATE TABLE variants (
    sku text PRIMARY KEY CHECK (sku ~ '^[A-Za-z0-9]([A-Za-z0-9 ._:+-]{0,62}[A-Za-z0-9._:+-])?$'),
    product_id uuid NOT NULL REFERENCES products,
    title text NOT NULL DEFAULT '',  -- empty: the product's
    options jsonb NOT NULL DEFAULT '{}',
    price_minor bigint NOT NULL CHECK (price_minor >= 0),
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    compare_at_minor bigint CHECK (compare_at_minor >= 0),
    position int NOT NULL
);
CREATE INDEX variants_product_id ON variants (product_id, position);
CREATE INDEX variants_any_case ON variants (lower(sku));

CREATE TABLE categories (
    id uuid PRIMARY KEY,
    parent_id uuid REFERENCES categories,
    slug text NOT NULL UNIQUE CHECK (slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$' AND length(slug) <= 120),
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    position int NOT NULL DEFAULT 0,
    CONSTRAINT categories_sibling_names UNIQUE NULLS NOT DISTINCT (parent_id, name),
    CONSTRAINT categories_not_own_parent CHECK (parent_id <> id)
);

-- A product's place in each of its categories (direct) and in all that these lie in. The sort
-- keys are copied from the product, so that a page of a category is one index range. No foreign
-- keys: their checks would be half the cost of an import. Products are never deleted, categories
-- only under the lock of the tree; invariants.sql holds them together.
CREATE TABLE placements (
    product_id uuid NOT NULL,
    category_id uuid NOT NULL,
    direct boolean NOT NULL,
    status text NOT NULL,
    price_minor bigint NOT NULL,
    title_key text COLLATE "C" NOT NULL,
    PRIMARY KEY (product_id, category_id)
);
CREATE INDEX placements_newest ON placements (category_id, status, product_id);
CREATE INDEX placements_price ON placements (category_id, status, price_minor, product_id);
CREATE INDEX placements_title ON placements (category_id, status, title_key, product_id);

CREATE TABLE images (
    product_id uuid NOT NULL REFERENCES products,
    position int NOT NULL,
    url text NOT NULL,
    alt text NOT NULL DEFAULT '',
    PRIMARY KEY (product_id, position)
);

-- Every word of a title or an attribute, to find what a mistyped word was meant to be. It grows
-- far slower than the catalogue, so looking for similar ones stays cheap.
CREATE TABLE words (word text PRIMARY KEY);
CREATE INDEX words_similar ON words USING gin (word public.gin_trgm_ops);
