-- What a person has on paper: the study is found by it.

ALTER TABLE study
    ADD COLUMN accession_number text NOT NULL DEFAULT '';
