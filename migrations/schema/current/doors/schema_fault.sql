-- The part of JSON Schema that an input_schema may use (lanes/workload/input_schema.py refuses the rest when it is published).
-- Strict: a workload without an input_schema pays nothing.
--- Where and how a value breaks a schema, a clause that names the path and no value; null when it does not
create or replace function lanes.schema_fault(schema jsonb, value jsonb, path text default 'payload')
returns text
language plpgsql immutable strict set search_path = pg_catalog, pg_temp as $$
declare
  kind text := jsonb_typeof(value);
  kinds jsonb := schema->'type';
  number numeric;
  name text;
  part jsonb;
  place int := 0;
  fault text;
begin
  if kinds is not null and not (
       kinds = to_jsonb(kind) or kinds @> to_jsonb(kind)
       or kind = 'number' and (kinds = '"integer"' or kinds @> '"integer"') and value::numeric % 1 = 0) then
    return format('%s must be %s, not %s', path,
                  case jsonb_typeof(kinds) when 'array' then (select string_agg(k, ' or ') from jsonb_array_elements_text(kinds) k)
                       else kinds #>> '{}' end,
                  kind);
  end if;
  if schema ? 'enum' and not exists (select from jsonb_array_elements(schema->'enum') e (allowed) where e.allowed = schema_fault.value) then
    return format('%s is none of the values in its enum', path);
  end if;
  if schema ? 'const' and schema->'const' <> value then
    return format('%s is not the value that const asks for', path);
  end if;

  case kind
    when 'object' then
      for name in select jsonb_array_elements_text(schema->'required') loop
        if not value ? name then return format('%s.%s is missing', path, left(name, 100)); end if;
      end loop;
      for name, part in select each.key, each.value from jsonb_each(schema_fault.value) each loop
        if schema->'properties' ? name then
          fault := lanes.schema_fault(schema->'properties'->name, part, path || '.' || left(name, 100));
          if fault is not null then return fault; end if;
        elsif schema->'additionalProperties' = 'false' then
          return format('%s.%s is not allowed', path, left(name, 40));
        end if;
      end loop;
    when 'array' then
      if jsonb_array_length(value) < (schema->>'minItems')::numeric then
        return format('%s must have %s elements or more', path, schema->>'minItems');
      elsif jsonb_array_length(value) > (schema->>'maxItems')::numeric then
        return format('%s must have %s elements or fewer', path, schema->>'maxItems');
      elsif schema ? 'items' then
        for part in select jsonb_array_elements(schema_fault.value) loop
          fault := lanes.schema_fault(schema->'items', part, format('%s[%s]', path, place));
          if fault is not null then return fault; end if;
          place := place + 1;
        end loop;
      end if;
    when 'string' then
      if length(value #>> '{}') < (schema->>'minLength')::numeric then
        return format('%s must have %s characters or more', path, schema->>'minLength');
      elsif length(value #>> '{}') > (schema->>'maxLength')::numeric then
        return format('%s must have %s characters or fewer', path, schema->>'maxLength');
      end if;
    when 'number' then
      number := value::numeric;
      if number < (schema->>'minimum')::numeric then
        return format('%s must be %s or more', path, schema->>'minimum');
      elsif number > (schema->>'maximum')::numeric then
        return format('%s must be %s or less', path, schema->>'maximum');
      elsif number <= (schema->>'exclusiveMinimum')::numeric then
        return format('%s must be more than %s', path, schema->>'exclusiveMinimum');
      elsif number >= (schema->>'exclusiveMaximum')::numeric then
        return format('%s must be less than %s', path, schema->>'exclusiveMaximum');
      end if;
    else null;
  end case;
  return null;
end $$;
