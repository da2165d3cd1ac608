-- name: an event that happened waits no longer than a minute to be told
SELECT position, type, created_at FROM outbox WHERE created_at < now() - interval '1 minute'

-- name: no failed delivery is overdue
SELECT event_id, reaction, due_at FROM deliveries
WHERE parked_at IS NULL AND due_at < now() - interval '1 minute'

-- name: no event is parked
SELECT event_id, reaction, type, error FROM deliveries WHERE parked_at IS NOT NULL

-- name: no idempotency key stays open
SELECT principal, key, created_at FROM idempotency_keys
WHERE status IS NULL AND created_at < now() - interval '2 minutes'
