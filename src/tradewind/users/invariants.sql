-- Each query must return no row; a row says what is wrong. Run after database tests and by
-- `tradewind check`.

-- name: an erased account is not brought back by an import
SELECT id, imported_id FROM users JOIN forgotten_imports USING (imported_id);

-- name: nobody disabled has a session
SELECT users.id AS user_id, sessions.id AS session_id FROM users
JOIN sessions ON sessions.user_id = users.id WHERE users.disabled_at IS NOT NULL;

-- name: no session lives longer than it may
SELECT id FROM sessions WHERE expires_at > created_at + interval '400 days';

-- name: a staff account can be reached
SELECT id FROM users WHERE role <> 'customer' AND email IS NULL;

-- name: passwords are kept as argon2id or bcrypt hashes
SELECT id FROM users WHERE password_hash !~ '^(\$argon2id\$v=19\$|\$2[aby]\$[0-9]{2}\$)';

-- name: nobody has more than a hundred addresses
SELECT user_id, count(*) AS addresses FROM addresses GROUP BY user_id HAVING count(*) > 100;

-- name: an asked for password reset is seen to
SELECT id, requested_at FROM reset_requests WHERE requested_at < now() - interval '10 minutes';
