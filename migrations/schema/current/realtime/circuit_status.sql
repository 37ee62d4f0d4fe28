--- One row a model of an account that has not answered lately, with its circuit
---   account: Name of the provider account
---   model: The model's name in requests
---   state: closed (calls pass), resting (until a probe) or probing
---   began_at: When the outage began
---   faulted_at: When a call failed last
---   faults: Failed calls in a row
---   next_probe_at: When it may be probed next; null: calls pass
---   host: The host whose calls alone failed; null: several
create or replace view lanes.circuit_status as
select account, model, state, began_at, faulted_at, faults, next_probe_at, host from lanes.outage where over_at is null;
