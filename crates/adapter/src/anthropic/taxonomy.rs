//! What Anthropic's errors mean for the account that was used.

use crate::failure::FailureClass::{Auth, Permission, QuotaExhausted};
use crate::taxonomy::Row;

pub(super) const ROWS: &[Row] = &[
    Row::of(QuotaExhausted).codes(&[
        "billing_error",
        "enforced_spend_limit_reached",
        "contract_spend_limit_reached",
        "linked_organization_spend_limit_reached",
        "linked_organization_billing_unavailable",
    ]),
    // An empty purse, and a limit that the customer set, are a 400 that only its text tells.
    Row::of(QuotaExhausted).texts(&[
        "credit balance is too low",
        "specified api usage limits",
        "specified workspace api usage limits",
    ]),
    Row::of(Auth).codes(&["organization_on_hold"]),
    Row::of(Auth).statuses(&[400, 401, 403]).texts(&["organization has been disabled"]),
    Row::of(Permission).codes(&["cmek_key_disabled", "user_profile_not_billable"]),
    Row::of(Permission).statuses(&[403]).texts(&["access to the model", "access to model"]).of_model(),
];
