-- Every statement analytics runs, by name. `{matching}` stands for the fragment of that name; values are always bound.

-- name: add_batch
-- A record delivered again has the same id and the same instant, so only rows of the batch's own time span are looked at.
INSERT INTO access_records BY NAME
SELECT DISTINCT ON (request_id, timestamp) * FROM batch
WHERE NOT EXISTS (
    FROM access_records AS known
    WHERE known.timestamp BETWEEN $first AND $last
        AND known.timestamp = batch.timestamp AND known.request_id = batch.request_id
);

-- name: matching
timestamp >= $start_time AND timestamp < $end_time
    AND ($model IS NULL OR model = $model)
    AND ($caller IS NULL OR caller = $caller)
    AND ($provider IS NULL OR provider = $provider)
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

-- name: totals
-- One scan for three tables: all of it, by model, by service.
SELECT
    CASE grouping_id(model, service_type) WHEN 1 THEN 'model' WHEN 2 THEN 'service_type' ELSE 'all' END AS grouped_by,
    coalesce(model, service_type, '') AS name,
    count(*) AS requests,
    count(*) FILTER (WHERE status_code < 400 AND error_kind = '') AS succeeded,
    coalesce(avg(duration_ms), 0) AS avg_duration_ms,
    coalesce(sum(cost_usd), 0) AS cost_usd,
    coalesce(sum(tokens_input), 0) AS tokens_input,
    coalesce(sum(tokens_output), 0) AS tokens_output,
    coalesce(sum(cache_read_tokens), 0) AS cache_read_tokens,
    coalesce(sum(cache_write_tokens), 0) AS cache_write_tokens
FROM access_records
WHERE {matching}
GROUP BY GROUPING SETS ((), (model), (service_type))
ORDER BY requests DESC, name;

-- name: extent
SELECT count(*) AS rows, epoch(min(timestamp)) AS oldest, epoch(max(timestamp)) AS newest FROM access_records;
