-- Cases whose contours one combined structure set holds.

ALTER TABLE contour_case
    ADD COLUMN members    text[] NOT NULL DEFAULT '{}',
    -- Contoured, and waiting to become part of a combined structure set.
    ADD COLUMN to_combine boolean NOT NULL DEFAULT false;
CREATE INDEX case_to_combine ON contour_case (study_instance_uid) WHERE to_combine;
