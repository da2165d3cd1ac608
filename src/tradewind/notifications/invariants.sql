-- Each query must return no row; a row says what is wrong. Run after database tests and by
-- `tradewind check`.

-- name: nothing is told twice for one cause
SELECT cause, kind, channel, recipient, count(*) AS messages FROM messages
WHERE erased_at IS NULL GROUP BY cause, kind, channel, recipient HAVING count(*) > 1;

-- name: no entry is shown twice for one cause
SELECT cause, kind, count(*) AS entries FROM entries GROUP BY cause, kind HAVING count(*) > 1;

-- name: whatever is queued has a next attempt within the hour
SELECT id, kind, due_at FROM messages
WHERE status = 'queued' AND (due_at IS NULL OR due_at > now() + interval '1 hour');

-- name: nothing is held by a claim for more than ten minutes
SELECT id, kind, leased_until FROM messages WHERE leased_until > now() + interval '10 minutes';

-- name: nothing is queued for more than two days
SELECT id, kind, queued_at FROM messages
WHERE status = 'queued' AND queued_at < now() - interval '2 days';

-- name: what was sent was tried
SELECT id, kind FROM messages WHERE status = 'sent' AND attempts = 0;

-- name: no entry lies beyond its person's last position
SELECT entries.id FROM entries LEFT JOIN people USING (user_id)
WHERE people.user_id IS NULL OR entries.position > people.last_position OR entries.position < 1;

-- name: nothing is left of the erased
SELECT people.user_id FROM people WHERE erased_at IS NOT NULL AND (
    EXISTS (SELECT FROM entries WHERE entries.user_id = people.user_id)
    OR EXISTS (SELECT FROM messages WHERE messages.user_id = people.user_id));
