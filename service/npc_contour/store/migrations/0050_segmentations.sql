-- The ROIs of a structure set as voxels (DICOM SEG): an object of its own, sent to the destinations that take it.

ALTER TABLE structure_set
    ADD COLUMN segmentation_uid text UNIQUE CHECK (segmentation_uid ~ '^[0-9.]{1,64}$'),
    ADD COLUMN segmentation_key text UNIQUE,
    ADD CHECK ((segmentation_uid IS NULL) = (segmentation_key IS NULL));

ALTER TABLE delivery
    DROP CONSTRAINT delivery_what_check,
    ADD CONSTRAINT delivery_what_check CHECK (what IN ('rtstruct', 'measurements', 'segmentation'));

CREATE VIEW delivered AS
    SELECT
        delivery.id AS delivery_id,
        CASE what WHEN 'measurements' THEN measurements_key WHEN 'segmentation' THEN segmentation_key ELSE key END AS key,
        CASE what
            WHEN 'measurements' THEN measurements_uid
            WHEN 'segmentation' THEN segmentation_uid
            ELSE sop_instance_uid
        END AS sop_instance_uid
    FROM delivery
    JOIN structure_set USING (case_id);
COMMENT ON VIEW delivered IS 'The object that each delivery is about.';
