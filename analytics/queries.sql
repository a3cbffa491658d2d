-- Every statement analytics runs, by name. A name in braces stands for the fragment of that name, `{columns}` for the
-- fields of a record in their order; values are always bound.

-- name: own
-- Requests that CCProxy answers itself: pages, health, metrics. A refused request stays among those of clients, because it
-- may be a client with a wrong address or token.
service_type = 'gateway' AND status_code NOT BETWEEN 400 AND 499

-- name: views
-- Made anew at every start, as they name columns a migration may have added. `requests`, `own_requests` and `hours` are for a
-- person's SQL; `hours` holds sums of requests that are older than the retention. Both halves of `counted` add up to every
-- request there ever was; what is known of single ones only is NULL in the older half. `kept` is the newer half.
CREATE OR REPLACE VIEW requests AS SELECT * REPLACE (coalesce(cache_write_1h_tokens, 0) AS cache_write_1h_tokens)
FROM access_records WHERE NOT ({own});
CREATE OR REPLACE VIEW own_requests AS
SELECT * REPLACE (coalesce(cache_write_1h_tokens, 0) AS cache_write_1h_tokens) FROM access_records WHERE {own};
CREATE OR REPLACE VIEW hours AS FROM old_hours WHERE NOT ({own});
CREATE OR REPLACE VIEW kept AS
SELECT
    timestamp, timestamp AS newest, service_type, provider, client_format, endpoint, model, caller, billed_to, status_code, error_kind,
    1 AS requests, (status_code < 400 AND error_kind = '')::BIGINT AS succeeded,
    tokens_input, tokens_output, cache_read_tokens, cache_write_tokens, reasoning_tokens,
    CASE WHEN cost_usd IS NULL THEN tokens_input + tokens_output + cache_read_tokens + cache_write_tokens ELSE 0 END
        AS unpriced_tokens,
    cost_usd, duration_ms AS duration_sum_ms, bytes_in, bytes_out, duration_ms, first_byte_ms,
    asked_model, session_id, agent_id, parent_agent_id, client_program, client_version, cache_miss_reason, service_tier,
    working_directory, cache_cause, cache_missed_tokens, cache_miss_usd,
    request_id, client_request_id, upstream_request_id, path, error_message
FROM access_records;
CREATE OR REPLACE VIEW counted AS FROM kept UNION ALL BY NAME FROM old_hours;

-- name: known
-- Which records of a batch are there already. One delivered again has the same instant, so only the batch's own time
-- span is looked at.
SELECT request_id FROM access_records
WHERE timestamp BETWEEN $first AND $last AND request_id IN (SELECT unnest($ids::VARCHAR[]));

-- name: matching
-- `filters` are the conditions of `filters.sql` that a question gives. Conditions for all of them, true where nothing is
-- given, would have to be planned: that took longer than most answers.
timestamp >= $start_time AND timestamp < $end_time{filters}

-- name: newest
-- Rows are chosen by rowid first: sorting forty columns to keep a page of them takes eight times as long.
SELECT * REPLACE (strftime(timestamp, '%Y-%m-%dT%H:%M:%S.%fZ') AS timestamp), duration_ms / 1000 AS duration_seconds
FROM (FROM access_records WHERE rowid IN (
    SELECT rowid FROM access_records WHERE {matching} ORDER BY timestamp DESC, rowid DESC LIMIT $limit OFFSET $offset
))
ORDER BY timestamp DESC;

-- name: searched
-- The newest records with a text, and the number of all of them: a text is looked for in a single pass.
WITH matched AS MATERIALIZED (SELECT rowid AS place, timestamp AS moment FROM access_records WHERE {matching}),
page AS (SELECT place FROM matched ORDER BY moment DESC, place DESC LIMIT $limit OFFSET $offset)
SELECT * REPLACE (strftime(timestamp, '%Y-%m-%dT%H:%M:%S.%fZ') AS timestamp), duration_ms / 1000 AS duration_seconds,
    (SELECT count(*) FROM matched) AS total
FROM access_records WHERE rowid IN (FROM page)
ORDER BY access_records.timestamp DESC;

-- name: oldest
SELECT * REPLACE (strftime(timestamp, '%Y-%m-%dT%H:%M:%S.%fZ') AS timestamp), duration_ms / 1000 AS duration_seconds
FROM (FROM access_records WHERE rowid IN (
    SELECT rowid FROM access_records WHERE {matching} ORDER BY timestamp, rowid LIMIT $limit OFFSET $offset
))
ORDER BY timestamp;

-- name: summed
-- What `kept` adds up to, read from the sums of whole hours and, before and after these, from the records. Without whole
-- hours both of their bounds are `start_time`.
(
    FROM kept WHERE timestamp >= $start_time AND timestamp < $whole_from
    UNION ALL BY NAME FROM recent_hours WHERE timestamp >= $whole_from AND timestamp < $whole_until
    UNION ALL BY NAME FROM kept WHERE timestamp >= $whole_until AND timestamp < $end_time
)

-- name: everything
(FROM {summed} UNION ALL BY NAME FROM old_hours)

-- name: count
SELECT coalesce(sum(requests), 0)::BIGINT AS total FROM {summed} WHERE {matching};

-- name: lookback
-- The beginning of the hour, backwards from `end_time`, in which the records become more than `most`.
WITH by_hour AS (
    SELECT date_trunc('hour', timestamp) AS hour, sum(requests) AS requests
    FROM {summed}
    WHERE timestamp >= $start_time AND timestamp < $end_time
    GROUP BY hour
), so_far AS (
    SELECT hour, sum(requests) OVER (ORDER BY hour DESC) AS requests FROM by_hour
)
SELECT max(hour) AS since FROM so_far WHERE requests > $most;

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

-- name: quantiles
-- Exact quantiles would keep every value in memory, and even near ones cost five times the rest: they are those of one
-- record in `every`, chosen by its microsecond.
approx_quantile(duration_ms, [0.5, 0.95]) AS durations, approx_quantile(first_byte_ms, [0.5, 0.95]) AS first_bytes
FROM kept
WHERE epoch_us(timestamp) % $every = 0 AND {matching}

-- name: quantile_columns
durations[1] AS duration_p50_ms, durations[2] AS duration_p95_ms,
first_bytes[1] AS first_byte_p50_ms, first_bytes[2] AS first_byte_p95_ms

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
    FROM {everything}
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
WITH steps AS (
    SELECT epoch(time_bucket(to_seconds($bucket), timestamp)) AS start, {sums}
    FROM {everything}
    WHERE {matching}
    GROUP BY start
), latencies AS (
    SELECT epoch(time_bucket(to_seconds($bucket), timestamp)) AS start, {quantiles}
    GROUP BY start
)
SELECT * EXCLUDE (durations, first_bytes), {quantile_columns}
FROM steps LEFT JOIN latencies USING (start)
ORDER BY start;

-- name: value
CASE $by
    WHEN 'model' THEN model WHEN 'caller' THEN caller WHEN 'client_program' THEN client_program
    WHEN 'provider' THEN provider WHEN 'error_kind' THEN error_kind ELSE endpoint
END

-- name: groups
-- One row for each value of one column. Sums of old hours know no program: it is '' there.
WITH parts AS (
    SELECT
        coalesce({value}, '') AS name,
        {sums},
        coalesce(sum(duration_sum_ms) / nullif(sum(requests), 0), 0) AS avg_duration_ms,
        epoch(max(coalesce(newest, timestamp))) AS newest
    FROM {everything}
    WHERE {matching}
    GROUP BY name
), latencies AS (
    SELECT coalesce({value}, '') AS name, {quantiles}
    GROUP BY name
)
SELECT * EXCLUDE (durations, first_bytes), {quantile_columns}
FROM parts LEFT JOIN latencies USING (name)
ORDER BY requests DESC, name
LIMIT $limit;

-- name: miss_sums
count(*) FILTER (cache_missed_tokens > 0) AS cache_misses, coalesce(sum(cache_missed_tokens), 0)::BIGINT AS cache_missed_tokens,
    coalesce(sum(cache_miss_usd), 0) AS cache_miss_usd

-- name: misses
SELECT cache_cause, {miss_sums}
FROM access_records
WHERE {matching} AND cache_missed_tokens > 0
GROUP BY cache_cause
ORDER BY cache_miss_usd DESC, cache_misses DESC, cache_cause;

-- name: sessions
-- The page is chosen by the session's last request first; only its sessions are summed.
WITH latest AS (
    SELECT session_id, max(timestamp) AS newest, count(*) OVER () AS total
    FROM access_records
    WHERE {matching} AND session_id <> ''
    GROUP BY session_id
    ORDER BY newest DESC, session_id
    LIMIT $limit OFFSET $offset
), reported AS (
    -- What a hook said of the folder, for agents whose requests do not name it.
    SELECT session_id, arg_max(working_directory, asked_at) AS folder
    FROM permission_audit
    WHERE working_directory <> '' AND session_id IN (SELECT session_id FROM latest)
    GROUP BY session_id
)
SELECT
    session_id, any_value(total) AS total, epoch(min(timestamp)) AS oldest, epoch(max(timestamp)) AS newest,
    {sums}, sum(duration_sum_ms) AS busy_ms,
    {miss_sums},
    coalesce(arg_max(working_directory, timestamp) FILTER (working_directory <> ''), any_value(folder), '')
        AS working_directory,
    count(DISTINCT agent_id) FILTER (agent_id <> '') AS agents,
    max(client_program) AS client_program, max(caller) AS caller, list_sort(list(DISTINCT model)) AS models
FROM counted JOIN latest USING (session_id) LEFT JOIN reported USING (session_id)
WHERE {matching}
GROUP BY session_id
ORDER BY newest DESC, session_id;

-- name: agents
SELECT
    agent_id, max(parent_agent_id) AS parent_agent_id, epoch(min(timestamp)) AS oldest, epoch(max(timestamp)) AS newest,
    {sums}, sum(duration_sum_ms) AS busy_ms, {miss_sums}, list_sort(list(DISTINCT model)) AS models
FROM counted
WHERE {matching}
GROUP BY agent_id
ORDER BY oldest, agent_id;

-- name: outcomes
-- How the last requests to each provider ended. A client's own mistake is no failure of the provider: only what no
-- client can mend counts, and replies that broke off.
WITH recent AS (
    SELECT
        provider, timestamp, error_kind, error_message,
        status_code >= 500 OR status_code IN (401, 403, 408, 429) OR (status_code < 400 AND error_kind <> '') AS failed,
        row_number() OVER (PARTITION BY provider ORDER BY timestamp DESC) AS place
    FROM access_records
    WHERE timestamp >= $since AND provider <> '' AND model <> '' AND status_code <> 499
)
SELECT
    provider, count(*) AS requests, count(*) FILTER (failed) AS failed,
    coalesce(mode(error_kind) FILTER (failed), '') AS error_kind,
    coalesce(arg_max(error_message, timestamp) FILTER (failed), '') AS error_message,
    epoch(max(timestamp) FILTER (failed)) AS last_failure, epoch(max(timestamp) FILTER (NOT failed)) AS last_success,
    coalesce(min(place) FILTER (NOT failed) - 1, count(*)) AS failed_in_a_row
FROM recent
WHERE place <= $limit
GROUP BY provider
ORDER BY provider;

-- name: spent
SELECT provider, billed_to, model, {sums}
FROM {everything}
WHERE timestamp >= $start_time AND provider <> '' AND model <> ''
GROUP BY provider, billed_to, model
ORDER BY cost_usd DESC, requests DESC;

-- name: hour_sums
INSERT INTO recent_hours BY NAME
SELECT
    date_trunc('hour', timestamp) AS timestamp, max(timestamp) AS newest,
    service_type, provider, client_format, endpoint, model, caller, billed_to, client_program, status_code, error_kind,
    {sums},
    sum(duration_sum_ms) AS duration_sum_ms
FROM kept

-- name: hour_keys
GROUP BY date_trunc('hour', timestamp),
    service_type, provider, client_format, endpoint, model, caller, billed_to, client_program, status_code, error_kind

-- name: first_unsummed
SELECT min(timestamp) AS first FROM access_records WHERE timestamp >= $until AND timestamp < $before;

-- name: sum_up
{hour_sums} WHERE timestamp >= $until AND timestamp < $before {hour_keys};

-- name: sum_late
-- Records that were inserted for hours that are summed already.
{hour_sums} WHERE timestamp BETWEEN $first AND $last AND timestamp < $until
    AND request_id IN (SELECT unnest($ids::VARCHAR[])) {hour_keys};

-- name: summed_until
SELECT until FROM summed;

-- name: set_summed
UPDATE summed SET until = $until;

-- name: roll_up
INSERT INTO old_hours BY NAME
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

-- name: drop_rolled_up_sums
DELETE FROM recent_hours WHERE timestamp < $before;

-- name: drop_old_permissions
DELETE FROM permission_audit WHERE asked_at < $before;

-- name: forget_records
DELETE FROM access_records;

-- name: recent_prompts
-- The last prompts of each conversation, the earliest first.
FROM (
    SELECT
        fingerprint, request_id, model, billed_to, caller, provider, session_id, agent_id,
        epoch(r.timestamp) AS sent_at, epoch(r.timestamp) + coalesce(first_byte_ms, duration_ms) / 1000 AS begun_at,
        cache_read_tokens, cache_write_tokens, tokens_input
    FROM fingerprints JOIN access_records r USING (request_id)
    QUALIFY row_number() OVER (PARTITION BY caller, provider, session_id, agent_id ORDER BY r.timestamp DESC) <= $each
    ORDER BY sent_at DESC
    LIMIT $most
) ORDER BY sent_at;

-- name: drop_old_fingerprints
DELETE FROM fingerprints WHERE timestamp < $before OR (timestamp < $settled AND request_id NOT IN (
    SELECT request_id
    FROM fingerprints f JOIN access_records r USING (request_id)
    WHERE f.timestamp < $settled
    QUALIFY row_number() OVER (PARTITION BY caller, provider, session_id, agent_id ORDER BY r.timestamp DESC) <= $each
));

-- name: forget_fingerprints
DELETE FROM fingerprints;

-- name: forget_hours
DELETE FROM old_hours;

-- name: forget_recent_hours
DELETE FROM recent_hours;

-- name: export
SELECT {columns} FROM access_records WHERE {matching} ORDER BY timestamp

-- name: export_text
-- A spreadsheet takes a cell that begins like a formula for one; such a text gets an apostrophe in front.
SELECT * REPLACE (strftime(timestamp, '%Y-%m-%dT%H:%M:%S.%fZ') AS timestamp)
FROM (SELECT {cells} FROM access_records WHERE {matching})
ORDER BY timestamp

-- name: extent
SELECT count(*) AS rows, epoch(min(timestamp)) AS oldest, epoch(max(timestamp)) AS newest FROM access_records;

-- name: add_permission
INSERT INTO permission_audit
SELECT $request_id, $asked_at::TIMESTAMP, $tool_name, $input, $caller, $session_id, $working_directory, $outcome,
    $decided_by, $rule, $message, $updated_input, $waited_ms, $program, $machine, $circumstances
WHERE NOT EXISTS (FROM permission_audit WHERE request_id = $request_id);

-- name: permissions
SELECT * REPLACE (strftime(asked_at, '%Y-%m-%dT%H:%M:%S.%fZ') AS asked_at)
FROM permission_audit
WHERE ($tool_name IS NULL OR tool_name = $tool_name) AND ($caller IS NULL OR caller = $caller)
    AND ($outcome IS NULL OR outcome = $outcome)
    AND ($start_time IS NULL OR epoch(permission_audit.asked_at) >= $start_time)
ORDER BY permission_audit.asked_at DESC, rowid DESC
LIMIT $limit;
