-- Nonces of callbacks that were let through: a second one with the same nonce is a replay. A row is good for nothing
-- once its signature would be too old anyway.
CREATE TABLE media_callback_nonces (
    nonce text PRIMARY KEY CHECK (length(nonce) BETWEEN 16 AND 64),
    used_by text NOT NULL,
    used_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE INDEX media_callback_nonces_used_at ON media_callback_nonces (used_at);
