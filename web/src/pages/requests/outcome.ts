import type { Outcome } from "@/api/types";
import type { Tone } from "@/components/Meaning";

export const OUTCOMES = [
  "ok",
  "client_error",
  "rate_limited",
  "quota_exceeded",
  "upstream_error",
  "timeout",
  "client_gone",
  "internal",
  "cancelled",
  "crash",
] as const satisfies readonly Outcome[];

export const OUTCOME_TONES: Record<Outcome, Tone> = {
  ok: "good",
  client_error: "warning",
  rate_limited: "warning",
  quota_exceeded: "warning",
  upstream_error: "bad",
  timeout: "bad",
  client_gone: "quiet",
  internal: "bad",
  cancelled: "quiet",
  crash: "bad",
};
