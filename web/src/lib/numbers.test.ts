import { describe, expect, it } from "vitest";
import { compact, duration, percent } from "./numbers";

describe("numbers", () => {
  it("shortens counts with one decimal", () => {
    expect(compact(842, "en")).toBe("842");
    expect(compact(12_432, "en")).toBe("12.4\u00a0k");
    expect(compact(3_210_000, "en")).toBe("3.2\u00a0M");
    expect(compact(999_990, "en")).toBe("1.0\u00a0M");
  });

  it("says durations in the unit that fits", () => {
    expect(duration(0)).toBe("<\u00a01\u00a0ms");
    expect(duration(0.42)).toBe("0.42\u00a0ms");
    expect(duration(840)).toBe("840\u00a0ms");
    expect(duration(1240)).toBe("1.24\u00a0s");
    expect(duration(125_000)).toBe("2\u00a0min 5\u00a0s");
  });

  it("says shares as percent", () => {
    expect(percent(0.9821, "en")).toBe("98.2%");
  });
});
