-- Migrations, applied in order and never edited once released; `-- name: N` is the version each leads to.

-- name: 1
-- One column for each field of shared.bus.channels.AccessRecord. No constraint and no index: an index on a random id costs
-- more than all else together, and what a batch may add is decided when it is inserted (see queries.sql, add_batch).
-- The name differs from the predecessor's access_logs, whose file may lie at the same path.
CREATE TABLE access_records (
    request_id VARCHAR,
    timestamp TIMESTAMP, -- UTC: TIMESTAMPTZ would need pytz to be read
    method VARCHAR,
    path VARCHAR,
    endpoint VARCHAR,
    query VARCHAR,
    client_ip VARCHAR,
    user_agent VARCHAR,
    caller VARCHAR,
    service_type VARCHAR,
    provider VARCHAR,
    client_format VARCHAR,
    model VARCHAR,
    streaming BOOLEAN,
    status_code INTEGER,
    duration_ms DOUBLE,
    first_byte_ms DOUBLE,
    tokens_input BIGINT,
    tokens_output BIGINT,
    cache_read_tokens BIGINT,
    cache_write_tokens BIGINT,
    reasoning_tokens BIGINT,
    cost_usd DOUBLE,
    cost_sdk_usd DOUBLE,
    num_turns INTEGER,
    session_id VARCHAR,
    stop_reason VARCHAR,
    error_kind VARCHAR,
    error_message VARCHAR,
    retries INTEGER,
    queue_ms DOUBLE,
    worker_ms DOUBLE,
    worker VARCHAR,
    lane VARCHAR,
    bytes_in BIGINT,
    bytes_out BIGINT,
    client_request_id VARCHAR,
    upstream_request_id VARCHAR,
    ignored VARCHAR
);

-- name: 2
ALTER TABLE access_records ADD COLUMN cache_write_1h_tokens BIGINT DEFAULT 0;
-- What is left of records older than the retention: their sums by hour, kept for good. A record is in one of the two.
CREATE TABLE hours (
    timestamp TIMESTAMP, -- the beginning of the hour
    service_type VARCHAR,
    provider VARCHAR,
    client_format VARCHAR,
    endpoint VARCHAR,
    model VARCHAR,
    caller VARCHAR,
    lane VARCHAR,
    status_code INTEGER,
    error_kind VARCHAR,
    requests BIGINT,
    succeeded BIGINT,
    tokens_input BIGINT,
    tokens_output BIGINT,
    cache_read_tokens BIGINT,
    cache_write_tokens BIGINT,
    reasoning_tokens BIGINT,
    unpriced_tokens BIGINT,
    cost_usd DOUBLE,
    duration_sum_ms DOUBLE,
    bytes_in BIGINT,
    bytes_out BIGINT
);

-- name: 3
-- One row for each request for permission and what became of it; a field of shared.bus.channels.PermissionAudit each.
CREATE TABLE permission_audit (
    request_id VARCHAR,
    asked_at TIMESTAMP,
    tool_name VARCHAR,
    input VARCHAR,
    caller VARCHAR,
    session_id VARCHAR,
    working_directory VARCHAR,
    outcome VARCHAR,
    decided_by VARCHAR,
    rule VARCHAR,
    message VARCHAR,
    updated_input VARCHAR,
    waited_ms DOUBLE
);

-- name: 4
-- The model as the client named it, and Claude Code's own names for its agents.
ALTER TABLE access_records ADD COLUMN asked_model VARCHAR DEFAULT '';
ALTER TABLE access_records ADD COLUMN agent_id VARCHAR DEFAULT '';
ALTER TABLE access_records ADD COLUMN parent_agent_id VARCHAR DEFAULT '';

-- name: 5
-- The client's program as its user agent names it, and why the provider's prompt cache could not be used.
ALTER TABLE access_records ADD COLUMN client_program VARCHAR DEFAULT '';
ALTER TABLE access_records ADD COLUMN client_version VARCHAR DEFAULT '';
ALTER TABLE access_records ADD COLUMN cache_miss_reason VARCHAR DEFAULT '';

-- name: 6
-- Who pays has one name everywhere.
ALTER TABLE access_records RENAME COLUMN lane TO billed_to;
ALTER TABLE hours RENAME COLUMN lane TO billed_to;

-- name: 7
-- The agent and its machine, as a hook reported them.
ALTER TABLE permission_audit ADD COLUMN program VARCHAR DEFAULT '';
ALTER TABLE permission_audit ADD COLUMN machine VARCHAR DEFAULT '';

-- name: 8
-- The facts beside the input that a decision depends on, for judging a request again.
ALTER TABLE permission_audit ADD COLUMN circumstances VARCHAR DEFAULT '';

-- name: 9
-- The sums by hour of records that are still there, so that a question about a long time reads few rows. They hold every
-- record before `summed.until` and no other: what arrives later for such an hour is added in its own transaction.
CREATE TABLE recent_hours (
    timestamp TIMESTAMP, -- the beginning of the hour
    newest TIMESTAMP, -- of the last record among them
    service_type VARCHAR,
    provider VARCHAR,
    client_format VARCHAR,
    endpoint VARCHAR,
    model VARCHAR,
    caller VARCHAR,
    billed_to VARCHAR,
    client_program VARCHAR,
    status_code INTEGER,
    error_kind VARCHAR,
    requests BIGINT,
    succeeded BIGINT,
    tokens_input BIGINT,
    tokens_output BIGINT,
    cache_read_tokens BIGINT,
    cache_write_tokens BIGINT,
    unpriced_tokens BIGINT,
    cost_usd DOUBLE,
    duration_sum_ms DOUBLE
);
CREATE TABLE summed (until TIMESTAMP); -- one row; a full hour
INSERT INTO summed VALUES ('1970-01-01');

-- name: 10
-- The service tier that the reply named, and whether its price was not known.
ALTER TABLE access_records ADD COLUMN service_tier VARCHAR DEFAULT '';
ALTER TABLE access_records ADD COLUMN priced_as_standard BOOLEAN DEFAULT FALSE;

-- name: 11
-- `hours` becomes a view without the stack's own requests, for a person's SQL; see queries.sql, views.
ALTER TABLE hours RENAME TO old_hours;

-- name: 12
-- Why the provider's cache did not have a prompt, what that cost, and the folder that the client works in.
ALTER TABLE access_records ADD COLUMN working_directory VARCHAR DEFAULT '';
ALTER TABLE access_records ADD COLUMN cache_cause VARCHAR DEFAULT '';
ALTER TABLE access_records ADD COLUMN cache_explanation VARCHAR DEFAULT '';
ALTER TABLE access_records ADD COLUMN cache_missed_tokens BIGINT DEFAULT 0;
ALTER TABLE access_records ADD COLUMN cache_miss_usd DOUBLE;
-- Checksums of prompts' parts, without text; of each conversation only the last ones stay.
CREATE TABLE fingerprints (request_id VARCHAR, timestamp TIMESTAMP, fingerprint VARCHAR);
