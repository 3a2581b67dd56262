-- What was spent of a budget in one window of time, and how much of it processes have leased. `wanted_at`: when one last asked in
-- vain, so that the others give back what they do not need. Amounts are units * 10^12 + pico, as
-- in usage_rollups_hourly. `subject` is the end user where each has an account of their own, else empty. No foreign key: what was
-- spent outlives the budget, and taking it in must never fail.
CREATE TABLE budget_windows (
    budget_id        UUID NOT NULL,
    subject          TEXT NOT NULL,
    period           TEXT NOT NULL,
    since            TIMESTAMPTZ NOT NULL,
    currency         TEXT NOT NULL,
    until            TIMESTAMPTZ NOT NULL,
    limit_units      BIGINT,
    limit_pico       BIGINT,
    spent_units      BIGINT NOT NULL DEFAULT 0,
    spent_pico       BIGINT NOT NULL DEFAULT 0,
    overspent_units  BIGINT NOT NULL DEFAULT 0,
    overspent_pico   BIGINT NOT NULL DEFAULT 0,
    leased_units     BIGINT NOT NULL DEFAULT 0,
    leased_pico      BIGINT NOT NULL DEFAULT 0,
    wanted_at        TIMESTAMPTZ,
    PRIMARY KEY (budget_id, subject, period, since, currency)
);
CREATE INDEX budget_windows_until ON budget_windows (until);
CREATE INDEX budget_windows_wanted ON budget_windows (wanted_at) WHERE wanted_at IS NOT NULL;

-- A process that holds leases. What it does not renew in time is anybody's again; `epoch` tells it that this has happened.
CREATE TABLE lease_holders (
    node        TEXT PRIMARY KEY,
    epoch       BIGINT NOT NULL,
    expires_at  TIMESTAMPTZ NOT NULL
);

-- What a process may give out of a budget without asking.
CREATE TABLE budget_leases (
    budget_id    UUID NOT NULL,
    subject      TEXT NOT NULL,
    period       TEXT NOT NULL,
    since        TIMESTAMPTZ NOT NULL,
    currency     TEXT NOT NULL,
    node         TEXT NOT NULL,
    lease_units  BIGINT NOT NULL,
    lease_pico   BIGINT NOT NULL,
    PRIMARY KEY (budget_id, subject, period, since, currency, node)
);
CREATE INDEX budget_leases_node ON budget_leases (node);
