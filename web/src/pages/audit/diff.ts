/** One field that a change touched. */
export interface Difference {
  path: string;
  before: string | null;
  after: string | null;
}

function flatten(value: unknown, path: string, into: Map<string, string>) {
  if (value !== null && typeof value === "object") {
    const entries = Object.entries(value);
    if (entries.length > 0) {
      for (const [key, inner] of entries) flatten(inner, path ? `${path}.${key}` : key, into);
      return;
    }
  }
  if (path) into.set(path, typeof value === "string" ? value : JSON.stringify(value));
}

/** Fields every write moves; they say nothing about what somebody did. */
const NOISE = new Set(["version", "updated_at"]);

/** What differs between two states, field by field, in the order the fields appear. */
export function differences(before: unknown, after: unknown): Difference[] {
  const old = new Map<string, string>();
  const now = new Map<string, string>();
  flatten(before, "", old);
  flatten(after, "", now);
  return [...new Set([...old.keys(), ...now.keys()])]
    .filter((path) => !NOISE.has(path) && old.get(path) !== now.get(path))
    .map((path) => ({ path, before: old.get(path) ?? null, after: now.get(path) ?? null }));
}
