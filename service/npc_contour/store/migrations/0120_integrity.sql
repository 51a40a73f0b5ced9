-- What every file of the spool must hold, so that damaged bytes are never taken for good ones.

-- NULL: kept by a version that did not note it; filled in when the file is first compared with its row.
ALTER TABLE instance
    ADD COLUMN sha256     text CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    ADD COLUMN size       bigint CHECK (size >= 0),
    -- When file and row were last compared.
    ADD COLUMN checked_at timestamptz;

CREATE TABLE artefact (
    key        text PRIMARY KEY,
    case_id    text NOT NULL REFERENCES contour_case ON DELETE CASCADE,
    sha256     text NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    size       bigint NOT NULL CHECK (size >= 0),
    -- How often it was found damaged, or gone.
    damaged    integer NOT NULL DEFAULT 0,
    checked_at timestamptz
);
CREATE INDEX artefact_of_case ON artefact (case_id);

-- Images that were kept and whose files are damaged or gone: their series is not complete until they come again.
CREATE TABLE missing_image (
    sop_instance_uid    text PRIMARY KEY,
    series_instance_uid text NOT NULL REFERENCES series ON DELETE CASCADE,
    why                 text NOT NULL,
    at                  timestamptz NOT NULL
);
CREATE INDEX missing_image_of_series ON missing_image (series_instance_uid);

CREATE OR REPLACE VIEW delivered AS
    SELECT
        delivery.id AS delivery_id,
        CASE what
            WHEN 'measurements' THEN measurements_key
            WHEN 'segmentation' THEN segmentation_key
            ELSE structure_set.key
        END AS key,
        CASE what
            WHEN 'measurements' THEN measurements_uid
            WHEN 'segmentation' THEN segmentation_uid
            ELSE sop_instance_uid
        END AS sop_instance_uid,
        artefact.sha256,
        artefact.size
    FROM delivery
    JOIN structure_set USING (case_id)
    LEFT JOIN artefact ON artefact.key = CASE what
        WHEN 'measurements' THEN measurements_key
        WHEN 'segmentation' THEN segmentation_key
        ELSE structure_set.key
    END;
COMMENT ON VIEW delivered IS 'The object that each delivery is about, and what its file must hold.';
