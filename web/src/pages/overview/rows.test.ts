import { describe, expect, it } from "vitest";
import type { UsageReport } from "@/api/types";
import { requestRows, tokenRows } from "./rows";

const window = { from: "2026-11-22T10:20:00.000Z", to: "2026-11-22T12:20:00.000Z" };

function report(points: [start: string, model: string, requests: number][]): UsageReport {
  return {
    data: points.map(([start, group, requests]) => ({
      start,
      group,
      group_name: group,
      requests,
      errors: 1,
      input_tokens: requests * 10,
      output_tokens: requests,
      charges: [],
      cache_saved: [],
    })),
  } as unknown as UsageReport;
}

describe("chart rows", () => {
  it("fills the hours in which nothing happened with zero", () => {
    const rows = requestRows(report([["2026-11-22T11:00:00Z", "smart", 5]]), window, "hour");
    expect(rows).toEqual([
      { start: "2026-11-22T10:00:00.000Z", ok: 0, failed: 0 },
      { start: "2026-11-22T11:00:00.000Z", ok: 4, failed: 1 },
      { start: "2026-11-22T12:00:00.000Z", ok: 0, failed: 0 },
    ]);
  });

  it("keeps the five largest models and sums the rest", () => {
    const models = ["a", "b", "c", "d", "e", "f", "g"];
    const { rows, names } = tokenRows(
      report(models.map((model, at) => ["2026-11-22T11:00:00Z", model, 10 - at])),
      window,
      "hour",
      "other",
    );
    expect(names).toEqual(["a", "b", "c", "d", "e", "other"]);
    expect(rows[1]).toMatchObject({ a: 110, e: 66, other: 55 + 44 });
  });
});
