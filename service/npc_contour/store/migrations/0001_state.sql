-- What exists and where it stands. Times are UTC; states are those of npc_contour.domain.jobs.

CREATE TABLE study (
    study_instance_uid text PRIMARY KEY CHECK (study_instance_uid ~ '^[0-9.]{1,64}$'),
    patient_id         text NOT NULL,
    -- A series was closed since the study was last routed.
    routing_due        boolean NOT NULL DEFAULT false,
    created_at         timestamptz NOT NULL
);

CREATE TABLE association (
    id                text PRIMARY KEY,
    receiver          text NOT NULL,
    calling_ae_title  text NOT NULL,
    called_ae_title   text NOT NULL,
    peer              text NOT NULL,
    opened_at         timestamptz NOT NULL,
    ended_at          timestamptz,
    ending            text CHECK (ending IN ('released', 'aborted', 'lost')),
    CHECK ((ended_at IS NULL) = (ending IS NULL))
);
CREATE INDEX association_open ON association (receiver) WHERE ended_at IS NULL;

CREATE TABLE series (
    series_instance_uid text PRIMARY KEY CHECK (series_instance_uid ~ '^[0-9.]{1,64}$'),
    study_instance_uid  text NOT NULL REFERENCES study,
    modality            text NOT NULL,
    description         text NOT NULL,
    called_ae_title     text NOT NULL,
    state               text NOT NULL CHECK (state IN ('receiving', 'ready', 'held', 'aside')),
    reasons             text[] NOT NULL DEFAULT '{}',
    images              integer NOT NULL CHECK (images >= 0),
    first_instance_at   timestamptz NOT NULL,
    last_instance_at    timestamptz NOT NULL,
    updated_at          timestamptz NOT NULL,
    CHECK (state <> 'held' OR cardinality(reasons) > 0)
);
CREATE INDEX series_of_study ON series (study_instance_uid);
CREATE INDEX series_active ON series (state) WHERE state = 'receiving';

CREATE TABLE series_association (
    series_instance_uid text NOT NULL REFERENCES series ON DELETE CASCADE,
    association_id      text NOT NULL REFERENCES association ON DELETE CASCADE,
    PRIMARY KEY (series_instance_uid, association_id)
);

CREATE TABLE instance (
    sop_instance_uid    text PRIMARY KEY CHECK (sop_instance_uid ~ '^[0-9.]{1,64}$'),
    series_instance_uid text NOT NULL REFERENCES series,
    key                 text NOT NULL UNIQUE,
    header              jsonb NOT NULL,
    association_id      text NOT NULL REFERENCES association,
    received_at         timestamptz NOT NULL
);
CREATE INDEX instance_of_series ON instance (series_instance_uid);

CREATE TABLE contour_case (
    id                     text PRIMARY KEY,
    study_instance_uid     text NOT NULL REFERENCES study,
    pipeline               text NOT NULL,
    generation             integer NOT NULL CHECK (generation >= 1),
    state                  text NOT NULL CHECK (state IN ('waiting', 'routed', 'segmented', 'contoured', 'sent',
                                                          'refused', 'failed', 'superseded')),
    planning_role          text NOT NULL,
    planning_series_uid    text REFERENCES series,
    frame_of_reference_uid text NOT NULL DEFAULT '',
    inputs                 jsonb NOT NULL DEFAULT '{}',
    waiting_for            text[] NOT NULL DEFAULT '{}',
    wait_until             timestamptz,
    reasons                text[] NOT NULL DEFAULT '{}',
    demo                   boolean NOT NULL,
    predecessor            text REFERENCES contour_case,
    superseded_by          text REFERENCES contour_case DEFERRABLE INITIALLY DEFERRED,
    created_at             timestamptz NOT NULL,
    updated_at             timestamptz NOT NULL,
    CHECK ((state = 'superseded') = (superseded_by IS NOT NULL)),
    CHECK (state NOT IN ('routed', 'segmented', 'contoured', 'sent') OR planning_series_uid IS NOT NULL),
    CHECK ((planning_series_uid IS NULL) = (inputs = '{}'::jsonb)),
    CHECK (state <> 'waiting' OR wait_until IS NOT NULL),
    CHECK (state NOT IN ('refused', 'failed') OR cardinality(reasons) > 0)
);
CREATE INDEX case_of_study ON contour_case (study_instance_uid);
CREATE INDEX case_newest ON contour_case (created_at DESC);
CREATE INDEX case_active ON contour_case (state) WHERE state IN ('waiting', 'routed', 'segmented', 'contoured');
-- One live case per study, pipeline and planning series; what waits or was refused without images counts as one.
CREATE UNIQUE INDEX case_live ON contour_case (study_instance_uid, pipeline, coalesce(planning_series_uid, ''))
    WHERE state <> 'superseded';

CREATE TABLE structure_set (
    case_id          text PRIMARY KEY REFERENCES contour_case,
    sop_instance_uid text NOT NULL UNIQUE CHECK (sop_instance_uid ~ '^[0-9.]{1,64}$'),
    key              text NOT NULL UNIQUE,
    report           jsonb NOT NULL,
    created_at       timestamptz NOT NULL
);

CREATE TABLE delivery (
    id           bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    case_id      text NOT NULL REFERENCES structure_set,
    destination  text NOT NULL,
    state        text NOT NULL CHECK (state IN ('queued', 'sent', 'verified', 'failed', 'blocked')),
    attempts     integer NOT NULL DEFAULT 0,
    next_try_at  timestamptz,
    status       integer,
    message      text NOT NULL DEFAULT '',
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL,
    UNIQUE (case_id, destination),
    CHECK ((state = 'queued') = (next_try_at IS NOT NULL)),
    CHECK (state NOT IN ('sent', 'verified') OR (status IS NOT NULL AND attempts > 0)),
    CHECK (state NOT IN ('failed', 'blocked') OR message <> '')
);
CREATE INDEX delivery_active ON delivery (state) WHERE state = 'queued';

-- Attempts of a step that has not succeeded yet; the row goes when it does. An attempt that left no message
-- took its process down with it.
CREATE TABLE attempt (
    kind     text NOT NULL,
    key      text NOT NULL,
    count    integer NOT NULL,
    deaths   integer NOT NULL DEFAULT 0,
    message  text NOT NULL DEFAULT '',
    at       timestamptz NOT NULL,
    PRIMARY KEY (kind, key)
);

-- The story of every study, series and case; rows are only ever added.
CREATE TABLE event (
    id                  bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    at                  timestamptz NOT NULL,
    name                text NOT NULL,
    study_instance_uid  text,
    series_instance_uid text,
    case_id             text,
    detail              text NOT NULL DEFAULT '',
    step                text NOT NULL DEFAULT '',
    seconds             double precision
);
CREATE INDEX event_of_case ON event (case_id, id) WHERE case_id IS NOT NULL;
CREATE INDEX event_of_study ON event (study_instance_uid, id);
CREATE INDEX event_of_step ON event (step) WHERE step <> '';
