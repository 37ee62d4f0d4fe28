--- Why a payload does not fit its workload's input_schema, as a reason and a sentence; null when it does, or there is none
create or replace function lanes.input_refusal(input_schema jsonb, workload text, payload jsonb)
returns text[]
language plpgsql immutable strict set search_path = pg_catalog, pg_temp as $$
declare
  fault text := lanes.schema_fault(input_schema, payload);
begin
  if fault is null then return null; end if;
  return array['schema_mismatch', format('%s: the input_schema of workload "%s" asks for it', fault, workload)];
end $$;
