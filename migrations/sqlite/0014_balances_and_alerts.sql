-- A prepaid tenant spends what was paid in: a hard budget of which the amount is the sum of its balance entries. `balance_alert`:
-- below what is left of it somebody is told; `alert_emails`: whom a tenant wants told of its budgets.
ALTER TABLE tenants ADD COLUMN billing_mode TEXT NOT NULL DEFAULT 'postpaid' CHECK (billing_mode IN ('postpaid', 'prepaid'));
ALTER TABLE tenants ADD COLUMN balance_currency TEXT NOT NULL DEFAULT 'USD';
ALTER TABLE tenants ADD COLUMN balance_alert TEXT;
ALTER TABLE tenants ADD COLUMN alert_emails TEXT NOT NULL DEFAULT '[]';

-- What was paid in, and what was corrected since. Nothing is changed or deleted; the balance is the sum. Amounts are
-- units * 10^12 + pico. A reference is booked once.
CREATE TABLE balance_entries (
    id            BLOB PRIMARY KEY,
    tenant_id     BLOB NOT NULL REFERENCES tenants (id),
    kind          TEXT NOT NULL CHECK (kind IN ('top_up', 'voucher', 'adjustment')),
    amount_units  INTEGER NOT NULL,
    amount_pico   INTEGER NOT NULL,
    currency      TEXT NOT NULL,
    reference     TEXT NOT NULL,
    note          TEXT,
    booked_by     TEXT NOT NULL,
    created_at    INTEGER NOT NULL,
    UNIQUE (tenant_id, reference)
) STRICT;
CREATE INDEX balance_entries_tenant ON balance_entries (tenant_id, id);

-- Codes that are worth money. The code itself is kept nowhere; `digest` is its HMAC.
CREATE TABLE vouchers (
    id           BLOB PRIMARY KEY,
    digest       BLOB NOT NULL UNIQUE,
    last4        TEXT NOT NULL,
    amount       TEXT NOT NULL,
    currency     TEXT NOT NULL,
    tenant_id    BLOB REFERENCES tenants (id) ON DELETE CASCADE,
    note         TEXT,
    expires_at   INTEGER NOT NULL,
    created_by   TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    revoked_at   INTEGER,
    redeemed_at  INTEGER,
    redeemed_by  BLOB REFERENCES tenants (id)
) STRICT;

-- What somebody is to be told, once for each occasion (`80%`, `low:<the last entry>`). `event` is what is told, `delivered` by
-- which ways it was. No process holds a notification for longer than till `next_attempt_at`, which whoever takes it on sets.
CREATE TABLE notifications (
    id               BLOB PRIMARY KEY,
    tenant_id        BLOB NOT NULL,
    budget_id        BLOB NOT NULL,
    subject          TEXT NOT NULL,
    period           TEXT NOT NULL,
    since            INTEGER NOT NULL,
    currency         TEXT NOT NULL,
    occasion         TEXT NOT NULL,
    event            TEXT NOT NULL,
    state            TEXT NOT NULL CHECK (state IN ('pending', 'sent', 'failed', 'recorded')),
    delivered        TEXT NOT NULL DEFAULT '[]',
    attempts         INTEGER NOT NULL DEFAULT 0,
    next_attempt_at  INTEGER NOT NULL,
    last_error       TEXT,
    created_at       INTEGER NOT NULL,
    UNIQUE (budget_id, subject, period, since, currency, occasion)
) STRICT;
CREATE INDEX notifications_pending ON notifications (next_attempt_at) WHERE state = 'pending';
CREATE INDEX notifications_tenant ON notifications (tenant_id, id);
