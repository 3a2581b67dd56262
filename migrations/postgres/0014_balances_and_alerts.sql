-- A prepaid tenant spends what was paid in: a hard budget of which the amount is the sum of its balance entries. `balance_alert`:
-- below what is left of it somebody is told; `alert_emails`: whom a tenant wants told of its budgets.
ALTER TABLE tenants ADD COLUMN billing_mode TEXT NOT NULL DEFAULT 'postpaid' CHECK (billing_mode IN ('postpaid', 'prepaid'));
ALTER TABLE tenants ADD COLUMN balance_currency TEXT NOT NULL DEFAULT 'USD';
ALTER TABLE tenants ADD COLUMN balance_alert TEXT;
ALTER TABLE tenants ADD COLUMN alert_emails JSONB NOT NULL DEFAULT '[]';

-- What was paid in, and what was corrected since. Nothing is changed or deleted; the balance is the sum. Amounts are
-- units * 10^12 + pico. A reference is booked once.
CREATE TABLE balance_entries (
    id            UUID PRIMARY KEY,
    tenant_id     UUID NOT NULL REFERENCES tenants (id),
    kind          TEXT NOT NULL CHECK (kind IN ('top_up', 'voucher', 'adjustment')),
    amount_units  BIGINT NOT NULL,
    amount_pico   BIGINT NOT NULL,
    currency      TEXT NOT NULL,
    reference     TEXT NOT NULL,
    note          TEXT,
    booked_by     TEXT NOT NULL,
    created_at    TIMESTAMPTZ NOT NULL,
    UNIQUE (tenant_id, reference)
);
CREATE INDEX balance_entries_tenant ON balance_entries (tenant_id, id);

-- Codes that are worth money. The code itself is kept nowhere; `digest` is its HMAC.
CREATE TABLE vouchers (
    id           UUID PRIMARY KEY,
    digest       BYTEA NOT NULL UNIQUE,
    last4        TEXT NOT NULL,
    amount       TEXT NOT NULL,
    currency     TEXT NOT NULL,
    tenant_id    UUID REFERENCES tenants (id) ON DELETE CASCADE,
    note         TEXT,
    expires_at   TIMESTAMPTZ NOT NULL,
    created_by   TEXT NOT NULL,
    created_at   TIMESTAMPTZ NOT NULL,
    revoked_at   TIMESTAMPTZ,
    redeemed_at  TIMESTAMPTZ,
    redeemed_by  UUID REFERENCES tenants (id)
);

-- What somebody is to be told, once for each occasion (`80%`, `low:<the last entry>`). `event` is what is told, `delivered` by
-- which ways it was. No process holds a notification for longer than till `next_attempt_at`, which whoever takes it on sets.
CREATE TABLE notifications (
    id               UUID PRIMARY KEY,
    tenant_id        UUID NOT NULL,
    budget_id        UUID NOT NULL,
    subject          TEXT NOT NULL,
    period           TEXT NOT NULL,
    since            TIMESTAMPTZ NOT NULL,
    currency         TEXT NOT NULL,
    occasion         TEXT NOT NULL,
    event            JSONB NOT NULL,
    state            TEXT NOT NULL CHECK (state IN ('pending', 'sent', 'failed', 'recorded')),
    delivered        JSONB NOT NULL DEFAULT '[]',
    attempts         BIGINT NOT NULL DEFAULT 0,
    next_attempt_at  TIMESTAMPTZ NOT NULL,
    last_error       TEXT,
    created_at       TIMESTAMPTZ NOT NULL,
    UNIQUE (budget_id, subject, period, since, currency, occasion)
);
CREATE INDEX notifications_pending ON notifications (next_attempt_at) WHERE state = 'pending';
CREATE INDEX notifications_tenant ON notifications (tenant_id, id);
