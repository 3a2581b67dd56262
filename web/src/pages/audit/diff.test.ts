import { describe, expect, it } from "vitest";
import { differences } from "./diff";

describe("differences", () => {
  it("names each field that changed, and what it was", () => {
    expect(
      differences(
        { name: "acme", limits: { concurrency: 20, rpm: null }, version: 1 },
        { name: "acme", limits: { concurrency: 50, rpm: null }, version: 2 },
      ),
    ).toEqual([{ path: "limits.concurrency", before: "20", after: "50" }]);
  });

  it("shows a new thing as all after, and a deleted one as all before", () => {
    expect(differences(null, { name: "ci" })).toEqual([
      { path: "name", before: null, after: "ci" },
    ]);
    expect(differences({ name: "ci" }, null)).toEqual([
      { path: "name", before: "ci", after: null },
    ]);
  });

  it("looks into lists", () => {
    expect(differences({ targets: [{ weight: 1 }] }, { targets: [{ weight: 2 }] })).toEqual([
      { path: "targets.0.weight", before: "1", after: "2" },
    ]);
  });
});
