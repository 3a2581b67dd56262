import type { TFunction } from "i18next";
import type { ApiKey } from "@/api/types";
import { limitsBody, limitsInput, NO_LIMITS } from "@/components/form/LimitsFields";

/** What the form of a key holds, new or not. */
export function keyValues(key?: ApiKey) {
  return {
    name: key?.name ?? "",
    expires_at: key?.expires_at ? localTime(key.expires_at) : "",
    limits: key ? limitsInput(key.limits) : NO_LIMITS,
    project: key?.project ?? null,
    allowed_models: key?.allowed_models ?? [],
    allowed_endpoints: key?.allowed_endpoints ?? [],
    allowed_networks: key?.allowed_networks ?? [],
  };
}

export type KeyValues = ReturnType<typeof keyValues>;

export function keyRules(t: TFunction<["keys", "common"]>, before?: ApiKey) {
  const kept = before?.expires_at ? localTime(before.expires_at) : undefined;
  return {
    name: (value: string) => (value.trim() ? null : t("common:nameNeeded")),
    // What is not changed may have passed.
    expires_at: (value: string) =>
      value && value !== kept && Date.parse(value) <= Date.now() ? t("expiresRule") : null,
  };
}

/** What is sent; an expiry that was not touched is left out, for the input knows no seconds. */
export function keyBody(values: KeyValues, before?: ApiKey) {
  const kept = before?.expires_at ? localTime(before.expires_at) : "";
  const expires_at = values.expires_at ? new Date(values.expires_at).toISOString() : null;
  return {
    name: values.name.trim(),
    ...(before && values.expires_at === kept ? {} : { expires_at }),
    limits: limitsBody(values.limits),
    project: values.project,
    allowed_models: someOf(values.allowed_models),
    allowed_endpoints: someOf(values.allowed_endpoints),
    allowed_networks: someOf(values.allowed_networks),
  };
}

/** An empty choice is no restriction. */
function someOf(chosen: string[]): string[] | null {
  return chosen.length > 0 ? chosen : null;
}

/** A time as `datetime-local` has it: the reader's own zone, to the minute. */
export function localTime(at: string): string {
  const time = new Date(at);
  const local = new Date(time.getTime() - time.getTimezoneOffset() * 60_000);
  return local.toISOString().slice(0, 16);
}
