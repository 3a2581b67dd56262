/** The spans of time a page offers; the URL carries the name, so a shared link stays fresh. */
export const RANGES = {
  "1h": { seconds: 3_600, bucket: "hour" },
  "24h": { seconds: 86_400, bucket: "hour" },
  "7d": { seconds: 7 * 86_400, bucket: "hour" },
  "30d": { seconds: 30 * 86_400, bucket: "day" },
} as const;

export type RangeName = keyof typeof RANGES;
export const RANGE_NAMES = Object.keys(RANGES) as RangeName[];

export function isRange(value: unknown): value is RangeName {
  return typeof value === "string" && value in RANGES;
}

/**
 * The bounds of a range as the API takes them. They are cut to the minute, so that two renders
 * within one minute ask the same question and the cache can answer the second.
 */
export function bounds(name: RangeName, now = Date.now()): { from: string; to: string } {
  const minute = 60_000;
  const to = Math.ceil(now / minute) * minute;
  return {
    from: new Date(to - RANGES[name].seconds * 1000).toISOString(),
    to: new Date(to).toISOString(),
  };
}
