-- A hash of the item alone, with a salt of its own: neither its lane, its answer nor its split has a say.
--- Place of an item in its workload's review queue, uniform in 0 to 1; the share of the workload holds those below it
create or replace function lanes.review_chance(workload text, key text)
returns double precision
language sql stable
begin atomic
  select ('x' || left(encode(sha256(convert_to(workload || ' review ' || key, 'UTF8')), 'hex'), 8))::bit(32)::bigint / 4294967296.0::float8;
end;
