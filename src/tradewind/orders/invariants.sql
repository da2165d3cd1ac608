-- name: an order's total is the sum of its lines, shipping and tax less its discount
SELECT orders.id, orders.total_minor, lines.total
FROM orders JOIN LATERAL (
    SELECT sum(total_minor) AS total FROM order_lines WHERE order_id = orders.id) AS lines ON true
WHERE lines.total IS DISTINCT FROM orders.subtotal_minor
    OR orders.total_minor <> lines.total + shipping_minor + tax_minor - discount_minor

-- name: refunded ≤ captured ≤ authorized ≤ the order's total
SELECT payments.id FROM payments JOIN orders ON orders.id = order_id
WHERE NOT (refunded_minor <= captured_minor AND captured_minor <= authorized_minor
    AND authorized_minor <= amount_minor AND amount_minor = total_minor)

-- name: every order has exactly one payment
SELECT orders.id FROM orders LEFT JOIN payments ON payments.order_id = orders.id
WHERE payments.id IS NULL

-- name: the ledger says what the payments say
SELECT payments.order_id, captured_minor, refunded_minor, moved.captured, moved.refunded
FROM payments LEFT JOIN (
    SELECT order_id, sum(amount_minor) FILTER (WHERE kind = 'capture') AS captured,
        sum(amount_minor) FILTER (WHERE kind = 'refund') AS refunded
    FROM transfers GROUP BY order_id) AS moved ON moved.order_id = payments.order_id
WHERE captured_minor <> coalesce(moved.captured, 0) OR refunded_minor <> coalesce(moved.refunded, 0)

-- name: the accounts of the ledger sum to 0, and hold what payments hold
WITH sides AS (
    SELECT debit AS account, currency, amount_minor AS amount FROM transfers
    UNION ALL SELECT credit, currency, -amount_minor FROM transfers
), balances AS (
    SELECT account, currency, sum(amount) AS amount FROM sides GROUP BY account, currency
), held AS (
    SELECT 'provider:' || provider AS account, currency, sum(captured_minor - refunded_minor)
        AS amount FROM payments GROUP BY provider, currency
    UNION ALL SELECT 'sales', currency, -sum(captured_minor - refunded_minor)
    FROM payments GROUP BY currency
)
SELECT account, currency, balances.amount, held.amount
FROM balances FULL JOIN held USING (account, currency)
WHERE coalesce(balances.amount, 0) <> coalesce(held.amount, 0)

-- name: a provider's reference is of one payment
SELECT provider, reference, count(*) FROM payments WHERE reference <> ''
GROUP BY provider, reference HAVING count(*) > 1

-- name: the refunds of a payment add up to what it says
SELECT payments.id, refunded_minor, asked.amount FROM payments LEFT JOIN (
    SELECT payment_id, sum(amount_minor) AS amount FROM refunds GROUP BY payment_id) AS asked
    ON asked.payment_id = payments.id
WHERE refunded_minor <> coalesce(asked.amount, 0)

-- name: no order holds more shipped units than parcels do
SELECT order_lines.order_id, order_lines.sku, fulfilled_quantity, parcels.quantity
FROM order_lines LEFT JOIN (
    SELECT order_id, line.key AS sku, sum(line.value::bigint) AS quantity
    FROM fulfillments, jsonb_each_text(lines) AS line GROUP BY 1, 2) AS parcels
    ON parcels.order_id = order_lines.order_id AND parcels.sku = order_lines.sku
WHERE fulfilled_quantity <> coalesce(parcels.quantity, 0)

-- name: the axes of an order agree with its payment
SELECT orders.id, status, payment_status, payments.state FROM orders
JOIN payments ON payments.order_id = orders.id
WHERE (payment_status = 'paid' AND (payments.state <> 'captured' OR refunded_minor > 0))
    OR (payment_status = 'authorized' AND payments.state NOT IN ('authorized', 'capturing'))
    OR (payment_status = 'pending' AND payments.state NOT IN ('pending', 'unclear'))
    OR (payment_status = 'failed' AND (payments.state <> 'failed' OR status <> 'cancelled'))
    OR (payment_status = 'partially_refunded'
        AND NOT (refunded_minor > 0 AND refunded_minor < captured_minor))

-- name: no checkout stays half done
SELECT id, order_id, due_at FROM checkouts
WHERE state = 'open' AND created_at < now() - interval '2 minutes'

-- name: no cart stays in checkout
SELECT id FROM carts WHERE state = 'checking_out' AND updated_at < now() - interval '2 minutes'

-- name: no pending payment or refund is left alone
SELECT id FROM payments WHERE state IN ('pending', 'unclear', 'capturing')
    AND (due_at IS NULL OR due_at < now() - interval '2 minutes')

-- name: the test provider took for each order at most once, and what we believe
SELECT book.order_id, sum(book.captured_minor) AS taken FROM test_provider_charges AS book
LEFT JOIN payments ON payments.id = book.attempt_id
WHERE payments.provider = 'test' AND payments.state = 'captured'
GROUP BY book.order_id, payments.captured_minor
HAVING sum(book.captured_minor) <> payments.captured_minor OR count(*) > 1

-- name: no order was charged by two attempts that both stand
SELECT order_id FROM (
    SELECT book.order_id, captured_minor - coalesce((SELECT sum(amount_minor)
        FROM test_provider_refunds WHERE attempt_id = book.attempt_id), 0) AS kept
    FROM test_provider_charges AS book) AS charges
WHERE kept > 0 GROUP BY order_id HAVING count(*) > 1
