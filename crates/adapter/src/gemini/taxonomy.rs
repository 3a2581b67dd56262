//! What Google's errors mean for the account that was used. The codes are `ErrorInfo.reason` and `status`; quotas are told apart
//! by their details, in `error.rs`.

use crate::failure::FailureClass::{Auth, Overloaded, Permission, QuotaExhausted};
use crate::taxonomy::Row;

pub(super) const ROWS: &[Row] = &[
    // A bad key is a 400 at Google.
    Row::of(Auth).codes(&[
        "API_KEY_INVALID",
        "ACCESS_TOKEN_EXPIRED",
        "ACCESS_TOKEN_TYPE_UNSUPPORTED",
        "CONSUMER_SUSPENDED",
        "USER_PROJECT_DENIED",
    ]),
    Row::of(Auth).statuses(&[400, 401, 403]).texts(&[
        "api key not valid",
        "api key expired",
        "reported as leaked",
        "has been suspended",
    ]),
    Row::of(QuotaExhausted).codes(&["BILLING_DISABLED", "QUOTA_EXHAUSTED"]),
    Row::of(QuotaExhausted).statuses(&[400, 402, 403, 429]).texts(&[
        "billing to be enabled",
        "spending cap",
        "credits are depleted",
    ]),
    // Full for everybody: no fault of the account.
    Row::of(Overloaded).codes(&["MODEL_CAPACITY_EXHAUSTED"]),
    Row::of(Permission).codes(&[
        "SERVICE_DISABLED",
        "API_KEY_SERVICE_BLOCKED",
        "API_KEY_IP_ADDRESS_BLOCKED",
        "API_KEY_HTTP_REFERRER_BLOCKED",
    ]),
    Row::of(Permission).statuses(&[400, 403]).texts(&["user location is not supported", "free tier is not available"]),
];
