-- Which request an event comes from: its id, and its place in a distributed trace.

ALTER TABLE outbox
    ADD COLUMN request_id text NOT NULL DEFAULT '',
    ADD COLUMN traceparent text NOT NULL DEFAULT '';

ALTER TABLE deliveries
    ADD COLUMN request_id text NOT NULL DEFAULT '',
    ADD COLUMN traceparent text NOT NULL DEFAULT '';
