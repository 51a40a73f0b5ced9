-- Guessing passwords is slow for an account from one place, and nobody else is kept out by it.

-- A login that was refused: of whom, and from where (an address, or a browser that this account has used before).
-- Rows are removed once they no longer count, and when somebody lifts the wait: the audit trail keeps its own lines.
CREATE TABLE refused_login (
    name   text NOT NULL,
    source text NOT NULL,
    at     timestamptz NOT NULL
);
CREATE INDEX refused_login_at ON refused_login (at);

-- A browser in which an account has logged in: by the SHA-256 of a secret that it keeps.
CREATE TABLE known_browser (
    digest  text NOT NULL CHECK (digest ~ '^[0-9a-f]{64}$'),
    account text NOT NULL REFERENCES account ON DELETE CASCADE,
    seen_at timestamptz NOT NULL,
    PRIMARY KEY (digest, account)
);
