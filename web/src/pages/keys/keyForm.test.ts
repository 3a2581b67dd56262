import { describe, expect, it } from "vitest";
import type { ApiKey } from "@/api/types";
import { keyBody, keyValues, localTime } from "./keyForm";

const key = {
  name: "ci",
  expires_at: "2030-01-02T03:04:05.678901Z",
  limits: { requests_per_minute: 60, tokens_per_minute: null, concurrency: null },
  project: "web",
  allowed_models: ["smart"],
  allowed_endpoints: null,
  allowed_networks: ["192.0.2.0/24"],
} as unknown as ApiKey;

describe("the form of a key", () => {
  it("sends back what it showed, and leaves an untouched expiry alone", () => {
    expect(keyBody(keyValues(key), key)).toEqual({
      name: "ci",
      limits: { requests_per_minute: 60, tokens_per_minute: null, concurrency: null },
      project: "web",
      allowed_models: ["smart"],
      allowed_endpoints: null,
      allowed_networks: ["192.0.2.0/24"],
    });
  });

  it("lifts an expiry that was emptied and sets one that was chosen", () => {
    expect(keyBody({ ...keyValues(key), expires_at: "" }, key).expires_at).toBeNull();
    const later = localTime("2031-01-01T00:00:00Z");
    expect(keyBody({ ...keyValues(key), expires_at: later }, key).expires_at).toBe(
      "2031-01-01T00:00:00.000Z",
    );
  });

  it("says of a new key without an expiry that it has none", () => {
    expect(keyBody(keyValues()).expires_at).toBeNull();
  });
});
