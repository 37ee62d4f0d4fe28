create or replace trigger keep_for_webhooks after insert on lanes.event_outbox referencing new table as added for each statement execute function lanes.keep_for_webhooks();
