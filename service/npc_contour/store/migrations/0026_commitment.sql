-- Storage commitment that senders ask of us: what they asked about, and whether we have told them.

CREATE TABLE commitment_request (
    id               bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    transaction_uid  text NOT NULL CHECK (transaction_uid ~ '^[0-9.]{1,64}$'),
    calling_ae_title text NOT NULL,
    -- [[SOP Class UID, SOP Instance UID], ...]
    objects          jsonb NOT NULL,
    state            text NOT NULL CHECK (state IN ('asked', 'reported', 'failed')),
    attempts         integer NOT NULL DEFAULT 0,
    message          text NOT NULL DEFAULT '',
    asked_at         timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL,
    UNIQUE (calling_ae_title, transaction_uid)
);
CREATE INDEX commitment_request_asked ON commitment_request (state) WHERE state = 'asked';
