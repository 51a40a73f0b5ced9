-- Findings beside a structure set, as SR and as Encapsulated PDF: objects of their own, sent to the destinations that take
-- them.

ALTER TABLE structure_set
    ADD COLUMN findings_uid text UNIQUE CHECK (findings_uid ~ '^[0-9.]{1,64}$'),
    ADD COLUMN findings_key text UNIQUE,
    ADD COLUMN findings_pdf_uid text UNIQUE CHECK (findings_pdf_uid ~ '^[0-9.]{1,64}$'),
    ADD COLUMN findings_pdf_key text UNIQUE,
    ADD CHECK ((findings_uid IS NULL) = (findings_key IS NULL)),
    ADD CHECK ((findings_pdf_uid IS NULL) = (findings_pdf_key IS NULL));

ALTER TABLE delivery
    DROP CONSTRAINT delivery_what_check,
    ADD CONSTRAINT delivery_what_check
        CHECK (what IN ('rtstruct', 'measurements', 'segmentation', 'findings', 'findings_pdf'));

CREATE VIEW delivered_object AS
    SELECT delivery.id AS delivery_id, object.key, object.uid AS sop_instance_uid
    FROM delivery
    JOIN structure_set USING (case_id)
    CROSS JOIN LATERAL (
        VALUES
            ('rtstruct', structure_set.key, structure_set.sop_instance_uid),
            ('measurements', measurements_key, measurements_uid),
            ('segmentation', segmentation_key, segmentation_uid),
            ('findings', findings_key, findings_uid),
            ('findings_pdf', findings_pdf_key, findings_pdf_uid)
    ) AS object (what, key, uid)
    WHERE object.what = delivery.what;
COMMENT ON VIEW delivered_object IS 'The object that each delivery is about.';
