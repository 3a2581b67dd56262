import type { UsageReport } from "@/api/types";

export const BUCKET_MS = { hour: 3_600_000, day: 86_400_000 } as const;
export type ChartBucket = keyof typeof BUCKET_MS;

/** Lines a reader can tell apart; what is smaller is summed as "other". */
export const MAX_LINES = 5;

interface Window {
  from: string;
  to: string;
}

/** Every bucket of the window, also those in which nothing happened: the API leaves them out. */
function buckets(window: Window, bucket: ChartBucket): string[] {
  const step = BUCKET_MS[bucket];
  const starts: string[] = [];
  const to = Date.parse(window.to);
  for (let at = Math.floor(Date.parse(window.from) / step) * step; at < to; at += step) {
    starts.push(new Date(at).toISOString());
  }
  return starts;
}

/** The server may write an instant with another precision; compare instants, not texts. */
const key = (at: string) => new Date(at).toISOString();

export interface RequestRow extends Record<string, unknown> {
  start: string;
  ok: number;
  failed: number;
}

export function requestRows(
  report: UsageReport,
  window: Window,
  bucket: ChartBucket,
): RequestRow[] {
  const sums = new Map<string, RequestRow>(
    buckets(window, bucket).map((start) => [start, { start, ok: 0, failed: 0 }]),
  );
  for (const point of report.data) {
    const row = sums.get(key(point.start));
    if (!row) continue;
    row.ok += point.requests - point.errors;
    row.failed += point.errors;
  }
  return [...sums.values()];
}

export interface TokenRows {
  rows: Record<string, number | string>[];
  names: string[];
}

export function tokenRows(
  report: UsageReport,
  window: Window,
  bucket: ChartBucket,
  other: string,
): TokenRows {
  const totals = new Map<string, number>();
  for (const { group_name, group, input_tokens, output_tokens } of report.data) {
    const name = group_name ?? group ?? other;
    totals.set(name, (totals.get(name) ?? 0) + input_tokens + output_tokens);
  }
  // What used no token has no line: a request that was refused before its model was read has not even a name.
  const used = [...totals.entries()].filter(([, tokens]) => tokens > 0);
  const ranked = used.sort(([, a], [, b]) => b - a).map(([name]) => name);
  const kept = ranked.slice(0, MAX_LINES);
  const names = ranked.length > MAX_LINES ? [...kept, other] : kept;
  const blank = Object.fromEntries(names.map((name) => [name, 0]));
  const rows = new Map<string, Record<string, number | string>>(
    buckets(window, bucket).map((start) => [start, { start, ...blank }]),
  );
  for (const point of report.data) {
    const row = rows.get(key(point.start));
    if (!row || point.input_tokens + point.output_tokens === 0) continue;
    const own = point.group_name ?? point.group ?? other;
    const name = kept.includes(own) ? own : other;
    row[name] = Number(row[name] ?? 0) + point.input_tokens + point.output_tokens;
  }
  return { rows: [...rows.values()], names };
}
