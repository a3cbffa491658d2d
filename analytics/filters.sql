-- The condition of each filter, by the name of its parameter, except those that compare one column (statements.py).

-- name: request_id
request_id = $request_id OR client_request_id = $request_id

-- name: search
-- Ids are most of the text in a record, and lowering them takes longer than the rest.
contains(lower(model), lower($search))
OR contains(lower(asked_model), lower($search))
OR contains(lower(caller), lower($search))
OR contains(lower(client_program), lower($search))
OR contains(lower(error_kind), lower($search))
OR contains(lower(path), lower($search))
OR contains(lower(error_message), lower($search))
OR contains(session_id, $search)
OR contains(agent_id, $search)
OR contains(request_id, $search)
OR contains(client_request_id, $search)
OR contains(upstream_request_id, $search)

-- name: failed
(status_code >= 400 OR error_kind <> '') = $failed

-- name: cache_missed
(coalesce(cache_missed_tokens, 0) > 0) = $cache_missed

-- name: leave_out_own
NOT $leave_out_own OR NOT ({own})

-- name: services
list_contains($services, service_type)

-- name: services_left_out
NOT list_contains($services_left_out, service_type)

-- name: status_min
status_code >= $status_min

-- name: status_max
status_code <= $status_max
