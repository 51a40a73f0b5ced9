-- Who may use page and REST, and what was done there.

CREATE TABLE account (
    -- Compared without case: nobody can be impersonated by a capital letter.
    name          text PRIMARY KEY CHECK (name ~ '^[A-Za-z0-9._@-]{1,64}$'),
    role          text NOT NULL CHECK (role IN ('viewer', 'operator', 'admin')),
    -- '' for one whose password an identity provider keeps.
    password_hash text NOT NULL,
    disabled      boolean NOT NULL DEFAULT false,
    created_at    timestamptz NOT NULL,
    last_login_at timestamptz
);
CREATE UNIQUE INDEX account_name ON account (lower(name));

-- A browser's session and a program's token are kept as the SHA-256 of their secret.
CREATE TABLE web_session (
    digest     text PRIMARY KEY CHECK (digest ~ '^[0-9a-f]{64}$'),
    account    text NOT NULL REFERENCES account ON DELETE CASCADE,
    csrf       text NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX web_session_of_account ON web_session (account);

CREATE TABLE web_token (
    id           bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    digest       text NOT NULL UNIQUE CHECK (digest ~ '^[0-9a-f]{64}$'),
    label        text NOT NULL,
    account      text NOT NULL,
    role         text NOT NULL CHECK (role IN ('viewer', 'operator', 'admin')),
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz,
    last_used_at timestamptz
);

-- Rows are only ever added.
CREATE TABLE web_audit (
    id      bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    at      timestamptz NOT NULL,
    who     text NOT NULL,
    action  text NOT NULL,
    what    text NOT NULL,
    peer    text NOT NULL,
    outcome text NOT NULL
);
CREATE INDEX web_audit_logins ON web_audit (at) WHERE action = 'login' AND outcome = 'refused';
