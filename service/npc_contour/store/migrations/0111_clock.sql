-- The database's clock is the service's: whether it was set meanwhile, and how far each machine's own clock is off.

CREATE TABLE clock (
    one     boolean PRIMARY KEY DEFAULT true CHECK (one),
    -- How often the database's clock was found to have been set; times that wait were moved as often.
    steps   integer NOT NULL DEFAULT 0,
    seen_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO clock DEFAULT VALUES;

CREATE TABLE machine_clock (
    machine text NOT NULL,
    process text NOT NULL,
    -- Of the database's clock; negative is behind.
    ahead_s double precision NOT NULL,
    seen_at timestamptz NOT NULL,
    PRIMARY KEY (machine, process)
);
