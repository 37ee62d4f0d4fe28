create or replace trigger count_gone after delete on lanes.label referencing old table as before for each statement execute function lanes.count_labels();
