create or replace trigger count_added after insert on lanes.response referencing new table as added for each statement execute function lanes.count_responses();
