-- A study that a program asks us to fetch from a PACS of the settings.

CREATE TABLE pull_request (
    id                   bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    pacs                 text NOT NULL,
    study_instance_uid   text NOT NULL CHECK (study_instance_uid ~ '^[0-9.]{1,64}$'),
    -- Empty: all that a pipeline may take.
    series_instance_uids text[] NOT NULL DEFAULT '{}',
    asked_by             text NOT NULL,
    state                text NOT NULL CHECK (state IN ('asked', 'found', 'failed')),
    attempts             integer NOT NULL DEFAULT 0,
    message              text NOT NULL DEFAULT '',
    -- Ids of pulled_series, once the PACS has said what it has.
    pull_ids             bigint[] NOT NULL DEFAULT '{}',
    asked_at             timestamptz NOT NULL,
    updated_at           timestamptz NOT NULL,
    CHECK (state <> 'failed' OR message <> '')
);
CREATE INDEX pull_request_asked ON pull_request (state) WHERE state = 'asked';
CREATE INDEX pull_request_of_study ON pull_request (study_instance_uid);
