--- What became of one input: accepted, duplicate, or the reason of its refusal; the key it goes by; why
create type lanes.admitted as (outcome text, key text, detail text);
