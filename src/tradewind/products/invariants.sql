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
