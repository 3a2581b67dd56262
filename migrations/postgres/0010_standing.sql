-- What is held against a credential, or against one model of it: the newest word of any replica. Written beside requests, so no
-- reference to the credential may make it fail; rows of credentials that are gone are swept.
CREATE TABLE credential_standings (
    credential_id  UUID NOT NULL,
    model          TEXT NOT NULL,
    fingerprint    TEXT NOT NULL,
    state          TEXT NOT NULL,
    reason         TEXT NOT NULL,
    changed_at     TIMESTAMPTZ NOT NULL,
    until_at       TIMESTAMPTZ NOT NULL,
    refusals       BIGINT NOT NULL,
    PRIMARY KEY (credential_id, model)
);
CREATE INDEX credential_standings_changed ON credential_standings (changed_at);

-- What was charged for requests that a credential served, by day of UTC: its daily cap holds over restarts and replicas. The
-- shipper adds to it in the transaction of the records themselves.
CREATE TABLE credential_spend_daily (
    day            TIMESTAMPTZ NOT NULL,
    credential_id  UUID NOT NULL,
    charge_units   BIGINT NOT NULL,
    charge_pico    BIGINT NOT NULL,
    PRIMARY KEY (day, credential_id)
);
