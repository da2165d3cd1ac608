-- The idempotency key under which staff asked for a capture: whoever finishes it answers the key.
ALTER TABLE payments ADD COLUMN capture_principal text, ADD COLUMN capture_key text,
    ADD CONSTRAINT capture_key_is_whole CHECK (
        (capture_principal IS NULL) = (capture_key IS NULL));
