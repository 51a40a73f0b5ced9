-- Verdicts of the pair resolver, cases that a person must decide, and what a person said; combined structure sets.

ALTER TABLE contour_case
    -- Of every series in every role, with the reasons: [{"series", "role", "accepted", "reasons"}].
    ADD COLUMN verdicts jsonb NOT NULL DEFAULT '[]',
    -- Ways to fill the roles among which a person chooses: [{role: series}].
    ADD COLUMN choices  jsonb NOT NULL DEFAULT '[]',
    DROP CONSTRAINT contour_case_state_check,
    ADD CONSTRAINT contour_case_state_check CHECK (state IN ('waiting', 'ambiguous', 'routed', 'segmented', 'contoured',
        'sent', 'verified', 'refused', 'failed', 'cancelled', 'superseded', 'combined')),
    ADD CHECK (state <> 'ambiguous' OR jsonb_array_length(choices) > 0);

CREATE TABLE assignment (
    study_instance_uid  text NOT NULL REFERENCES study,
    pipeline            text NOT NULL,
    role                text NOT NULL,
    series_instance_uid text NOT NULL REFERENCES series,
    assigned_by         text NOT NULL,
    assigned_at         timestamptz NOT NULL,
    PRIMARY KEY (study_instance_uid, pipeline, role)
);
