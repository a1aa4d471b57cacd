-- The media library: what lies in the buckets, how to transcode, and the jobs.

-- One row per key ever seen in a bucket. Keys are compared byte by byte, as S3 compares them: a scan reads them in
-- the order in which it reads a listing.
CREATE TABLE media_assets (
    id uuid NOT NULL DEFAULT gen_random_uuid() CONSTRAINT media_assets_id UNIQUE,
    bucket text NOT NULL CONSTRAINT media_assets_bucket CHECK (bucket IN ('in', 'out')),
    key text COLLATE "C" NOT NULL CONSTRAINT media_assets_key CHECK (octet_length(key) BETWEEN 1 AND 1024),
    size_bytes bigint NOT NULL CONSTRAINT media_assets_size CHECK (size_bytes >= 0),
    etag text NOT NULL,
    modified_at timestamptz NOT NULL,
    status text NOT NULL DEFAULT 'REGISTERED'
        CONSTRAINT media_assets_status CHECK (status IN ('REGISTERED', 'READY', 'UNREADABLE', 'GONE')),
    container text NOT NULL DEFAULT '',
    duration_ms bigint CONSTRAINT media_assets_duration CHECK (duration_ms >= 0),
    streams jsonb NOT NULL DEFAULT '[]' CONSTRAINT media_assets_streams CHECK (jsonb_typeof(streams) = 'array'),
    error jsonb CONSTRAINT media_assets_error CHECK ((error IS NOT NULL) = (status = 'UNREADABLE')),
    listed_at timestamptz NOT NULL DEFAULT now(),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (bucket, key)
);

COMMENT ON COLUMN media_assets.listed_at IS
    'When a listing or an upload last changed this row. A scan leaves rows alone that are younger than its listing.';
COMMENT ON COLUMN media_assets.streams IS 'One object per stream, as livedub.library.types.MediaStream.';

CREATE INDEX media_assets_unread ON media_assets (bucket, key) WHERE status = 'REGISTERED';

-- Presets of one's own; those that come with livedub are in livedub.library.presets.
CREATE TABLE media_presets (
    name text COLLATE "C" PRIMARY KEY,
    definition jsonb NOT NULL CONSTRAINT media_presets_name CHECK (definition ->> 'name' = name),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

-- `attempt` is the fencing token of whoever works on a job: only the holder of the newest one may change it.
CREATE TABLE media_jobs (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    kind text NOT NULL CONSTRAINT media_jobs_kind CHECK (kind IN ('transcode', 'trim', 'dub')),
    state text NOT NULL DEFAULT 'PENDING' CONSTRAINT media_jobs_state
        CHECK (state IN ('PENDING', 'PROCESSING', 'COMPLETED', 'FAILED', 'CANCELLED')),
    source_key text COLLATE "C" NOT NULL,
    output_key text COLLATE "C" NOT NULL,
    parameters jsonb NOT NULL,
    preset jsonb CONSTRAINT media_jobs_preset CHECK ((preset IS NOT NULL) = (kind = 'transcode')),
    progress double precision NOT NULL DEFAULT 0 CONSTRAINT media_jobs_progress CHECK (progress BETWEEN 0 AND 1),
    error jsonb CONSTRAINT media_jobs_error CHECK ((error IS NOT NULL) = (state = 'FAILED')),
    outputs jsonb NOT NULL DEFAULT '[]' CONSTRAINT media_jobs_outputs CHECK (jsonb_typeof(outputs) = 'array'),
    submission integer NOT NULL DEFAULT 1 CONSTRAINT media_jobs_submission CHECK (submission >= 1),
    attempt integer NOT NULL DEFAULT 0 CONSTRAINT media_jobs_attempt CHECK (attempt >= 0),
    first_attempt integer NOT NULL DEFAULT 1,
    attempt_token text,
    lease_until timestamptz,
    idempotency_key text CONSTRAINT media_jobs_idempotency UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    queued_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,
    finished_at timestamptz,
    CONSTRAINT media_jobs_held CHECK ((state = 'PROCESSING') = (attempt_token IS NOT NULL AND lease_until IS NOT NULL)),
    CONSTRAINT media_jobs_done CHECK (state <> 'COMPLETED' OR progress = 1),
    CONSTRAINT media_jobs_finished
        CHECK ((state IN ('COMPLETED', 'FAILED', 'CANCELLED')) = (finished_at IS NOT NULL))
);

COMMENT ON COLUMN media_jobs.submission IS 'How often it was put into the queue; one more for each retry.';
COMMENT ON COLUMN media_jobs.first_attempt IS 'The first attempt of this submission.';
COMMENT ON COLUMN media_jobs.attempt_token IS 'Names the delivery that claimed it; the same one may claim it again.';
COMMENT ON COLUMN media_jobs.lease_until IS 'Without a sign of progress until then, anybody may take the job over.';
COMMENT ON COLUMN media_jobs.queued_at IS 'Since when it has been PENDING, the last time.';

-- No two jobs write the same object at once.
CREATE UNIQUE INDEX media_jobs_output ON media_jobs (output_key) WHERE state IN ('PENDING', 'PROCESSING');
CREATE INDEX media_jobs_newest ON media_jobs (created_at, id);
CREATE INDEX media_jobs_source ON media_jobs (source_key);
CREATE INDEX media_jobs_live ON media_jobs (state, queued_at) WHERE state IN ('PENDING', 'PROCESSING');

CREATE TABLE media_job_events (
    job_id uuid NOT NULL REFERENCES media_jobs (id) ON DELETE CASCADE,
    number integer NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    state text NOT NULL,
    attempt integer NOT NULL,
    submission integer NOT NULL,
    error_code text,
    PRIMARY KEY (job_id, number)
);

-- livedub.library.jobs.LEGAL says the same; a test compares them.
CREATE FUNCTION media_jobs_check() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.state <> 'PENDING' OR NEW.attempt <> 0 THEN
            RAISE EXCEPTION 'a new job is PENDING, not % at attempt %', NEW.state, NEW.attempt USING ERRCODE = 'LD001';
        END IF;
        RETURN NEW;
    END IF;
    IF NEW.state <> OLD.state AND (OLD.state, NEW.state) NOT IN (
        ('PENDING', 'PROCESSING'), ('PENDING', 'FAILED'), ('PENDING', 'CANCELLED'),
        ('PROCESSING', 'PENDING'), ('PROCESSING', 'COMPLETED'), ('PROCESSING', 'FAILED'), ('PROCESSING', 'CANCELLED'),
        ('FAILED', 'PENDING'), ('CANCELLED', 'PENDING')
    ) THEN
        RAISE EXCEPTION 'job % is % and cannot become %', OLD.id, OLD.state, NEW.state USING ERRCODE = 'LD001';
    END IF;
    IF NEW.state = OLD.state AND OLD.state IN ('COMPLETED', 'FAILED', 'CANCELLED') THEN
        RAISE EXCEPTION 'job % is %: nothing about it changes any more', OLD.id, OLD.state USING ERRCODE = 'LD001';
    END IF;
    IF NEW.attempt <> OLD.attempt AND (NEW.attempt <> OLD.attempt + 1 OR NEW.state <> 'PROCESSING') THEN
        RAISE EXCEPTION 'job % cannot go from attempt % to % as %', OLD.id, OLD.attempt, NEW.attempt, NEW.state
            USING ERRCODE = 'LD001';
    END IF;
    IF NEW.state = 'PROCESSING' AND OLD.state <> 'PROCESSING' AND NEW.attempt = OLD.attempt THEN
        RAISE EXCEPTION 'job % begins without a new attempt', OLD.id USING ERRCODE = 'LD001';
    END IF;
    NEW.updated_at := now();
    RETURN NEW;
END;
$$;

CREATE TRIGGER media_jobs_check BEFORE INSERT OR UPDATE ON media_jobs
    FOR EACH ROW EXECUTE FUNCTION media_jobs_check();

CREATE FUNCTION media_jobs_note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Whoever changes a job holds its row, so the numbers have no gaps.
    INSERT INTO media_job_events (job_id, number, state, attempt, submission, error_code)
    SELECT NEW.id, coalesce(max(number), 0) + 1, NEW.state, NEW.attempt, NEW.submission, NEW.error ->> 'code'
    FROM media_job_events WHERE job_id = NEW.id;
    RETURN NULL;
END;
$$;

CREATE TRIGGER media_jobs_note_new AFTER INSERT ON media_jobs
    FOR EACH ROW EXECUTE FUNCTION media_jobs_note();
CREATE TRIGGER media_jobs_note_change AFTER UPDATE ON media_jobs
    FOR EACH ROW WHEN (NEW.state <> OLD.state OR NEW.attempt <> OLD.attempt)
    EXECUTE FUNCTION media_jobs_note();
