-- Logging in at an identity provider.

-- Issuer and its own id of the person; '' for a local account. A name may pass to another person there, this does not.
ALTER TABLE account ADD COLUMN subject text NOT NULL DEFAULT '';

-- A browser that was sent to the provider: by the SHA-256 of its secret, used once.
CREATE TABLE login_attempt (
    digest     text PRIMARY KEY CHECK (digest ~ '^[0-9a-f]{64}$'),
    state      text NOT NULL,
    nonce      text NOT NULL,
    verifier   text NOT NULL,
    after      text NOT NULL,
    expires_at timestamptz NOT NULL
);
