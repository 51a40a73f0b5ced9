-- What is fetched from a PACS: rules that look again and again, and series that were found.

CREATE TABLE pull_rule (
    name         text PRIMARY KEY,
    next_poll_at timestamptz NOT NULL
);

CREATE TABLE pulled_series (
    id                  bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    pacs                text NOT NULL,
    study_instance_uid  text NOT NULL CHECK (study_instance_uid ~ '^[0-9.]{1,64}$'),
    series_instance_uid text NOT NULL CHECK (series_instance_uid ~ '^[0-9.]{1,64}$'),
    patient_id          text NOT NULL,
    -- As the PACS counted when the series was found; null where it does not count.
    images              integer CHECK (images >= 0),
    state               text NOT NULL CHECK (state IN ('wanted', 'fetched', 'incomplete', 'failed')),
    attempts            integer NOT NULL DEFAULT 0,
    message             text NOT NULL DEFAULT '',
    found_at            timestamptz NOT NULL,
    updated_at          timestamptz NOT NULL,
    UNIQUE (pacs, series_instance_uid),
    CHECK (state NOT IN ('incomplete', 'failed') OR message <> '')
);
CREATE INDEX pulled_series_wanted ON pulled_series (state) WHERE state = 'wanted';
