-- How the tests of the networks ended that run by themselves.

CREATE TABLE self_test (
    at      timestamptz PRIMARY KEY,
    seconds double precision NOT NULL,
    ok      boolean NOT NULL,
    detail  text NOT NULL CHECK (detail <> ''),
    -- Network: mean Dice on the phantom.
    dice    jsonb NOT NULL DEFAULT '{}'
);
