-- Measurements beside a structure set: an object of its own, sent to the destinations that take it.

ALTER TABLE structure_set
    ADD COLUMN measurements_uid text UNIQUE CHECK (measurements_uid ~ '^[0-9.]{1,64}$'),
    ADD COLUMN measurements_key text UNIQUE,
    ADD CHECK ((measurements_uid IS NULL) = (measurements_key IS NULL));

ALTER TABLE delivery
    ADD COLUMN what text NOT NULL DEFAULT 'rtstruct' CHECK (what IN ('rtstruct', 'measurements')),
    DROP CONSTRAINT delivery_case_id_destination_key,
    ADD UNIQUE (case_id, destination, what);
