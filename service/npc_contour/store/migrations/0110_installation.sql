-- One database, one spool: both carry the installation's id, and neither is used with another's.

CREATE TABLE installation (
    one        boolean PRIMARY KEY DEFAULT true CHECK (one),
    id         text NOT NULL,
    -- The id lies in the spool since then: a spool without it is not this installation's.
    spool_at   timestamptz
);
