-- Verified delivery, destinations that are paused or down, cases that a person holds or cancels, and urgent ones.

ALTER TABLE delivery
    ADD COLUMN sent_at         timestamptz,
    -- When the destination is asked next whether it holds the object; NULL: it is not asked (any more).
    ADD COLUMN ask_at          timestamptz,
    ADD COLUMN asks            integer NOT NULL DEFAULT 0,
    -- Of the last storage commitment request: its report may come minutes later, over an association of the peer's.
    ADD COLUMN transaction_uid text UNIQUE,
    -- What proved it: storage commitment, C-FIND, QIDO-RS, read back.
    ADD COLUMN verified_by     text NOT NULL DEFAULT '',
    ADD CHECK (ask_at IS NULL OR state = 'sent'),
    ADD CHECK ((state = 'verified') = (verified_by <> ''));
CREATE INDEX delivery_asked ON delivery (ask_at) WHERE ask_at IS NOT NULL;

-- Only destinations of which there is something to say have a row.
CREATE TABLE destination (
    name          text PRIMARY KEY,
    paused_at     timestamptz,
    paused_reason text NOT NULL DEFAULT '',
    -- Tries in a row that ended without a useful answer; while there are any, one try at a time goes out, at try_at.
    failures      integer NOT NULL DEFAULT 0,
    failed_at     timestamptz,
    try_at        timestamptz,
    last_error    text NOT NULL DEFAULT '',
    CHECK ((failures = 0) = (try_at IS NULL)),
    CHECK ((paused_at IS NULL) = (paused_reason = ''))
);

ALTER TABLE contour_case
    ADD COLUMN urgent      boolean NOT NULL DEFAULT false,
    -- Why a person keeps it from going on; '' when nobody does.
    ADD COLUMN held_reason text NOT NULL DEFAULT '',
    DROP CONSTRAINT contour_case_state_check,
    ADD CONSTRAINT contour_case_state_check CHECK (state IN ('waiting', 'routed', 'segmented', 'contoured', 'sent',
        'verified', 'refused', 'failed', 'cancelled', 'superseded')),
    ADD CHECK (state <> 'verified' OR planning_series_uid IS NOT NULL),
    ADD CHECK (state <> 'cancelled' OR cardinality(reasons) > 0);
DROP INDEX case_active;
CREATE INDEX case_active ON contour_case (state)
    WHERE state IN ('waiting', 'routed', 'segmented', 'contoured', 'sent');
