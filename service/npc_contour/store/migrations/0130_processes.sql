-- Signs of life of the processes of all machines: a row is written while the process's main loop turns.

CREATE TABLE process (
    place      text NOT NULL,
    name       text NOT NULL,
    role       text NOT NULL,
    machine    text NOT NULL,
    -- Since when it has beaten without a gap.
    since      timestamptz NOT NULL DEFAULT now(),
    beat_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (place, name)
);
