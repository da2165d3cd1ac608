-- name: received + returned = available + reserved + sold + written off, for each SKU
SELECT stock.sku, on_hand, reserved, ledger.* FROM stock LEFT JOIN (
    SELECT sku, sum(delta) AS all_deltas,
        sum(delta) FILTER (WHERE reason IN ('received', 'returned')) AS come_in,
        -sum(delta) FILTER (WHERE reason IN ('sold', 'sold_elsewhere')) AS sold,
        -sum(delta) FILTER (WHERE reason IN ('damaged', 'counted')) AS written_off
    FROM movements GROUP BY sku) AS ledger ON ledger.sku = stock.sku
WHERE coalesce(come_in, 0)
    <> (on_hand - reserved) + reserved + coalesce(sold, 0) + coalesce(written_off, 0)

-- name: nothing is below 0
SELECT sku, on_hand, reserved FROM stock WHERE on_hand < 0 OR reserved < 0 OR on_hand < reserved

-- name: what is reserved is what reservations hold
SELECT stock.sku, reserved, held.quantity FROM stock LEFT JOIN (
    SELECT line.key AS sku, sum(line.value::bigint) AS quantity
    FROM reservations, jsonb_each_text(lines) AS line
    WHERE state IN ('held', 'kept') GROUP BY line.key) AS held ON held.sku = stock.sku
WHERE reserved <> coalesce(held.quantity, 0)

-- name: every movement is of a SKU that has a level
SELECT movements.sku FROM movements LEFT JOIN stock ON stock.sku = movements.sku
WHERE stock.sku IS NULL

-- name: no reservation outlives its time by more than a minute
SELECT id, expires_at FROM reservations
WHERE state = 'held' AND expires_at < now() - interval '1 minute'

-- name: an order's sale of a SKU is one movement
SELECT order_id, sku FROM movements WHERE reason = 'sold' AND order_id IS NOT NULL
GROUP BY order_id, sku HAVING count(*) > 1

-- name: every variant has a level
SELECT variants.sku FROM variants LEFT JOIN stock ON stock.sku = variants.sku
WHERE stock.sku IS NULL

-- name: a product's price and currency are those of its cheapest variant
SELECT products.id, price_minor, sold.price, sold.currencies FROM products LEFT JOIN (
    SELECT product_id, min(price_minor) AS price, array_agg(DISTINCT currency) AS currencies
    FROM variants GROUP BY product_id) AS sold ON sold.product_id = products.id
WHERE price_minor IS DISTINCT FROM sold.price OR ARRAY[currency] IS DISTINCT FROM sold.currencies

-- name: a product is placed in its categories and in all that these lie in, as it is now
SELECT coalesce(placed.product_id, due.product_id) AS product_id,
    coalesce(placed.category_id, due.category_id) AS category_id
FROM placements AS placed FULL JOIN (
    WITH RECURSIVE up AS (
        SELECT product_id, category_id FROM placements WHERE direct
        UNION
        SELECT product_id, parent_id FROM up JOIN categories ON categories.id = up.category_id
        WHERE parent_id IS NOT NULL)
    SELECT product_id, category_id, products.status, products.price_minor, products.title_key
    FROM up JOIN products ON products.id = product_id
    JOIN categories ON categories.id = category_id) AS due
    ON due.product_id = placed.product_id AND due.category_id = placed.category_id
WHERE (placed.status, placed.price_minor, placed.title_key)
    IS DISTINCT FROM (due.status, due.price_minor, due.title_key)

-- name: categories are a tree
WITH RECURSIVE down AS (
    SELECT id FROM categories WHERE parent_id IS NULL
    UNION ALL
    SELECT categories.id FROM down JOIN categories ON parent_id = down.id)
SELECT id FROM categories WHERE id NOT IN (SELECT id FROM down)
