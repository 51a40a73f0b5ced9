-- A person said that a series is whole although the scanner counted more images: how many it had then, and who.

ALTER TABLE series
    ADD COLUMN whole_images integer,
    ADD COLUMN whole_by     text NOT NULL DEFAULT '';
