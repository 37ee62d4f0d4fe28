create or replace trigger count_moved after update on lanes.label referencing old table as before new table as added for each statement execute function lanes.count_labels();
