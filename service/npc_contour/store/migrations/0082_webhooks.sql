-- Who is told what by webhook, and every message: written with the change that it tells of.

CREATE TABLE webhook (
    name   text PRIMARY KEY,
    events text[] NOT NULL
);

CREATE TABLE webhook_message (
    -- The same at every try: by it a receiver knows what it has seen.
    id                  uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    hook                text NOT NULL,
    event               text NOT NULL,
    at                  timestamptz NOT NULL,
    study_instance_uid  text,
    series_instance_uid text,
    case_id             text,
    state               text NOT NULL CHECK (state IN ('queued', 'delivered', 'failed')),
    attempts            integer NOT NULL DEFAULT 0,
    next_try_at         timestamptz,
    -- Of the last answer; null while there was none.
    status              integer,
    message             text NOT NULL DEFAULT '',
    created_at          timestamptz NOT NULL,
    updated_at          timestamptz NOT NULL,
    CHECK ((state = 'queued') = (next_try_at IS NOT NULL)),
    CHECK (state <> 'failed' OR message <> '')
);
CREATE INDEX webhook_message_queued ON webhook_message (state) WHERE state = 'queued';
CREATE INDEX webhook_message_newest ON webhook_message (created_at DESC);
CREATE INDEX webhook_message_of_study ON webhook_message (study_instance_uid);
