import { categorical } from "./tokens";

/** FNV-1a, 32 bits: small, and the same on every page and in every session. */
function hash(name: string): number {
  let value = 0x811c9dc5;
  for (let i = 0; i < name.length; i += 1) {
    value ^= name.charCodeAt(i);
    value = Math.imul(value, 0x01000193);
  }
  return value >>> 0;
}

/** Grey belongs to what is summed as "other"; no name gets it. */
const named = categorical.slice(0, -1);
export const OTHER_COLOR = categorical[categorical.length - 1];

const assigned = new Map<string, string>();

/**
 * The colour of a model, tenant or upstream. The hash decides first, so that a name keeps its
 * colour wherever it appears; a neighbour is taken only while another name holds the first choice.
 */
export function colorOf(name: string): string {
  const known = assigned.get(name);
  if (known) return known;
  const taken = new Set(assigned.values());
  const start = hash(name) % named.length;
  for (let step = 0; step < named.length; step += 1) {
    const candidate = named[(start + step) % named.length] as string;
    if (!taken.has(candidate) || step === named.length - 1) {
      const color = taken.has(candidate) ? (named[start] as string) : candidate;
      assigned.set(name, color);
      return color;
    }
  }
  return named[0] as string;
}
