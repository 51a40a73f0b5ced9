-- What is usual at this site: a value a case, kept when its structure set is written. No patient is named.

CREATE TABLE observation (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at        timestamptz NOT NULL,
    -- Digest of the planning series' UID: the same images count once for each version of a network.
    images    text NOT NULL,
    measure   text NOT NULL,
    structure text NOT NULL,
    network   text NOT NULL,
    version   text NOT NULL,
    scanner   text NOT NULL,
    kernel    text NOT NULL,
    value     double precision NOT NULL,
    UNIQUE (images, measure, structure, network, version)
);
CREATE INDEX observation_of_series ON observation (measure, structure, network, version, at);
CREATE INDEX observation_at ON observation (at);

-- What the values of one series usually are, and how far the last ones have gone from it.
CREATE TABLE baseline (
    measure    text NOT NULL,
    structure  text NOT NULL,
    network    text NOT NULL,
    version    text NOT NULL,
    state      jsonb NOT NULL,
    watch      double precision NOT NULL DEFAULT 0,
    shift      text NOT NULL DEFAULT '',
    shifted_at timestamptz,
    began_at   timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (measure, structure, network, version)
);
