--- One row a limit of the provider, as any drain saw it last; a standby and a crash know none
---   account: Name of the provider account whose limit it is
---   model: The model's name in requests
---   kind: requests, input_tokens, output_tokens or tokens (both together)
---   per_minute: How much is allowed in a minute
---   remaining: How much was left at seen_at
---   reset_at: When it is whole again if nothing is used
---   seen_at: When the provider said so
create or replace view lanes.limit_status as
select account, model, kind, limit_ as per_minute, remaining, reset_at, seen_at from lanes.capacity;
