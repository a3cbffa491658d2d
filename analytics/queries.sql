-- Every statement analytics runs, by name. A name in braces stands for the fragment of that name, `{columns}` for the
-- fields of a record in their order; values are always bound.

-- name: views
-- Made anew at every start, as they name columns a migration may have added. Both halves of `counted` add up to every
-- request there ever was; what is known of single ones only is NULL in the older half.
CREATE OR REPLACE VIEW requests AS SELECT * REPLACE (coalesce(cache_write_1h_tokens, 0) AS cache_write_1h_tokens)
FROM access_records;
CREATE OR REPLACE VIEW counted AS
SELECT
    timestamp, service_type, provider, client_format, endpoint, model, caller, billed_to, status_code, error_kind,
    1 AS requests, (status_code < 400 AND error_kind = '')::BIGINT AS succeeded,
    tokens_input, tokens_output, cache_read_tokens, cache_write_tokens, reasoning_tokens,
    CASE WHEN cost_usd IS NULL THEN tokens_input + tokens_output + cache_read_tokens + cache_write_tokens ELSE 0 END
        AS unpriced_tokens,
    cost_usd, duration_ms AS duration_sum_ms, bytes_in, bytes_out, duration_ms, first_byte_ms,
    asked_model, session_id, agent_id, client_program, client_version, cache_miss_reason
FROM access_records
UNION ALL BY NAME FROM hours;

-- name: known
-- Which records of a batch are there already. One delivered again has the same instant, so only the batch's own time
-- span is looked at.
SELECT request_id FROM access_records
WHERE timestamp BETWEEN $first AND $last AND request_id IN (SELECT unnest($ids::VARCHAR[]));

-- name: matching
timestamp >= $start_time AND timestamp < $end_time
    AND ($model IS NULL OR model = $model)
    AND ($caller IS NULL OR caller = $caller)
    AND ($provider IS NULL OR provider = $provider)
    AND ($asked_model IS NULL OR asked_model = $asked_model)
    AND ($session_id IS NULL OR session_id = $session_id)
    AND ($agent_id IS NULL OR agent_id = $agent_id)
    AND ($client_program IS NULL OR client_program = $client_program)
    AND ($client_version IS NULL OR client_version = $client_version)
    AND ($cache_miss_reason IS NULL OR cache_miss_reason = $cache_miss_reason)
    AND ($error_kind IS NULL OR error_kind = $error_kind)
    AND (len($services) = 0 OR list_contains($services, service_type))
    AND NOT list_contains($services_left_out, service_type)
    AND status_code BETWEEN $status_min AND $status_max

-- name: newest
-- Rows are chosen by rowid first: sorting forty columns to keep a page of them takes eight times as long.
SELECT * REPLACE (strftime(timestamp, '%Y-%m-%dT%H:%M:%S.%fZ') AS timestamp), duration_ms / 1000 AS duration_seconds
FROM (FROM access_records WHERE rowid IN (
    SELECT rowid FROM access_records WHERE {matching} ORDER BY timestamp DESC, rowid DESC LIMIT $limit OFFSET $offset
))
ORDER BY timestamp DESC;

-- name: oldest
SELECT * REPLACE (strftime(timestamp, '%Y-%m-%dT%H:%M:%S.%fZ') AS timestamp), duration_ms / 1000 AS duration_seconds
FROM (FROM access_records WHERE rowid IN (
    SELECT rowid FROM access_records WHERE {matching} ORDER BY timestamp, rowid LIMIT $limit OFFSET $offset
))
ORDER BY timestamp;

-- name: count
SELECT count(*) AS total FROM access_records WHERE {matching};

-- name: largest
SELECT * REPLACE (strftime(timestamp, '%Y-%m-%dT%H:%M:%S.%fZ') AS timestamp), duration_ms / 1000 AS duration_seconds
FROM access_records WHERE {matching}
ORDER BY
    CASE $order_by
        WHEN 'duration_ms' THEN duration_ms
        WHEN 'first_byte_ms' THEN first_byte_ms
        WHEN 'cost_usd' THEN cost_usd
        ELSE tokens_input + tokens_output + cache_read_tokens + cache_write_tokens
    END DESC NULLS LAST
LIMIT $limit OFFSET $offset;

-- name: sums
    coalesce(sum(requests), 0)::BIGINT AS requests, coalesce(sum(succeeded), 0)::BIGINT AS succeeded,
    coalesce(sum(tokens_input), 0)::BIGINT AS tokens_input,
    coalesce(sum(tokens_output), 0)::BIGINT AS tokens_output,
    coalesce(sum(cache_read_tokens), 0)::BIGINT AS cache_read_tokens,
    coalesce(sum(cache_write_tokens), 0)::BIGINT AS cache_write_tokens,
    coalesce(sum(unpriced_tokens), 0)::BIGINT AS unpriced_tokens,
    coalesce(sum(cost_usd), 0) AS cost_usd

-- name: totals
-- All of it and each of its parts: the records are gone through once, into cells, and only those are grouped again.
WITH cells AS (
    SELECT service_type, model, caller, provider, billed_to, error_kind, {sums}, sum(duration_sum_ms) AS duration_sum_ms
    FROM counted
    WHERE {matching}
    GROUP BY service_type, model, caller, provider, billed_to, error_kind
)
SELECT
    CASE grouping_id(service_type, model, caller, provider, billed_to, error_kind)
        WHEN 31 THEN 'service_type' WHEN 47 THEN 'model' WHEN 55 THEN 'caller' WHEN 59 THEN 'provider'
        WHEN 61 THEN 'billed_to' WHEN 62 THEN 'error_kind' ELSE 'all'
    END AS grouped_by,
    coalesce(service_type, model, caller, provider, billed_to, error_kind, '') AS name,
    {sums},
    coalesce(sum(duration_sum_ms) / nullif(sum(requests), 0), 0) AS avg_duration_ms
FROM cells
GROUP BY GROUPING SETS ((), (service_type), (model), (caller), (provider), (billed_to), (error_kind))
ORDER BY requests DESC, name;

-- name: timeline
-- Exact quantiles would keep every value in memory, and even near ones cost five times the rest: they are those of one
-- record in `every`, chosen by its microsecond.
WITH steps AS (
    SELECT
        epoch(time_bucket(to_seconds($bucket), timestamp)) AS start,
        {sums},
        approx_quantile(duration_ms, [0.5, 0.95]) FILTER (epoch_us(timestamp) % $every = 0) AS durations,
        approx_quantile(first_byte_ms, [0.5, 0.95]) FILTER (epoch_us(timestamp) % $every = 0) AS first_bytes
    FROM counted
    WHERE {matching}
    GROUP BY start
)
SELECT
    * EXCLUDE (durations, first_bytes),
    durations[1] AS duration_p50_ms, durations[2] AS duration_p95_ms,
    first_bytes[1] AS first_byte_p50_ms, first_bytes[2] AS first_byte_p95_ms
FROM steps
ORDER BY start;

-- name: spent
SELECT span, provider, billed_to, model, {sums}
FROM counted, (VALUES ('24h', $day), ('7d', $week), ('30d', $month)) AS spans (span, since)
WHERE timestamp >= since AND provider <> '' AND model <> ''
GROUP BY span, provider, billed_to, model
ORDER BY span, cost_usd DESC, requests DESC;

-- name: roll_up
INSERT INTO hours BY NAME
SELECT
    date_trunc('hour', timestamp) AS timestamp,
    service_type, provider, client_format, endpoint, model, caller, billed_to, status_code, error_kind,
    {sums},
    sum(reasoning_tokens) AS reasoning_tokens, sum(duration_sum_ms) AS duration_sum_ms,
    sum(bytes_in) AS bytes_in, sum(bytes_out) AS bytes_out
FROM counted
WHERE timestamp < $before AND duration_ms IS NOT NULL
GROUP BY date_trunc('hour', timestamp),
    service_type, provider, client_format, endpoint, model, caller, billed_to, status_code, error_kind;

-- name: drop_rolled_up
DELETE FROM access_records WHERE timestamp < $before;

-- name: drop_old_permissions
DELETE FROM permission_audit WHERE asked_at < $before;

-- name: forget_records
DELETE FROM access_records;

-- name: forget_hours
DELETE FROM hours;

-- name: export
SELECT {columns} FROM access_records WHERE {matching} ORDER BY timestamp

-- name: extent
SELECT count(*) AS rows, epoch(min(timestamp)) AS oldest, epoch(max(timestamp)) AS newest FROM access_records;

-- name: add_permission
INSERT INTO permission_audit
SELECT $request_id, $asked_at::TIMESTAMP, $tool_name, $input, $caller, $session_id, $working_directory, $outcome,
    $decided_by, $rule, $message, $updated_input, $waited_ms
WHERE NOT EXISTS (FROM permission_audit WHERE request_id = $request_id);

-- name: permissions
SELECT * REPLACE (strftime(asked_at, '%Y-%m-%dT%H:%M:%S.%fZ') AS asked_at)
FROM permission_audit
WHERE ($tool_name IS NULL OR tool_name = $tool_name) AND ($caller IS NULL OR caller = $caller)
    AND ($outcome IS NULL OR outcome = $outcome)
ORDER BY permission_audit.asked_at DESC, rowid DESC
LIMIT $limit;
