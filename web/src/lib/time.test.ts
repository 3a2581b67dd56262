import { describe, expect, it } from "vitest";
import { bounds } from "./ranges";
import { month, relative } from "./time";

describe("time", () => {
  const now = Date.parse("2026-11-22T12:00:00Z");

  it("is relative to now", () => {
    expect(relative("2026-11-22T11:57:00Z", "en", now)).toBe("3 min. ago");
    expect(relative("2026-11-21T12:00:00Z", "en", now)).toBe("yesterday");
    expect(relative("2026-11-22T11:59:30Z", "zh-CN", now)).toBe("30秒前");
  });

  it("names a bill's month whatever the viewer's zone", () => {
    expect(month("2026-11", "en")).toBe("November 2026");
    expect(month("2026-11", "zh-CN")).toBe("2026年11月");
  });

  it("cuts a range to the minute", () => {
    expect(bounds("1h", now + 1)).toEqual({
      from: "2026-11-22T11:01:00.000Z",
      to: "2026-11-22T12:01:00.000Z",
    });
  });
});
