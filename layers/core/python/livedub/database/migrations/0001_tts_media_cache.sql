-- What the media cache holds: one row per key, one element of `variants` per stored object.
-- `hash` is livedub.media_cache.key.cache_key of the four columns after it. The sentence has no index of its own:
-- it may be longer than a B-tree's row.
CREATE TABLE tts_media_cache (
    hash text PRIMARY KEY CONSTRAINT tts_media_cache_hash CHECK (hash ~ '^[0-9a-f]{64}$'),
    sentence text NOT NULL,
    voice text NOT NULL,
    model text NOT NULL,
    speed numeric(4, 2) NOT NULL DEFAULT 1.00
        CONSTRAINT tts_media_cache_speed CHECK (speed BETWEEN 0.25 AND 4.00),
    variants jsonb NOT NULL CONSTRAINT tts_media_cache_variants CHECK (jsonb_typeof(variants) = 'array'),
    ttl timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

COMMENT ON COLUMN tts_media_cache.speed IS 'Speaking speed; 1.00 is the natural one of the voice.';
COMMENT ON COLUMN tts_media_cache.variants IS
    'Stored objects, newest first, one per encoding: {encoding, sample_rate_hz, channels, duration_ms}.';
COMMENT ON COLUMN tts_media_cache.ttl IS 'When the clean-up may take it; NULL is never.';

CREATE INDEX tts_media_cache_expiry ON tts_media_cache (ttl, hash) WHERE ttl IS NOT NULL;
