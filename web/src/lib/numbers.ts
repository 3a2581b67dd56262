const KILO = 1_000;
const MINUTE = 60_000;
const STEPS: readonly [number, string][] = [
  [1e12, "T"],
  [1e9, "G"],
  [1e6, "M"],
  [1e3, "k"],
];

/** `12.4 k`: counts as people compare them; the exact figure belongs on hover. */
export function compact(value: number, locale: string): string {
  if (Math.abs(value) < KILO) return exact(value, locale);
  for (const [size, suffix] of STEPS) {
    if (Math.abs(value) >= size * 0.99995) {
      const scaled = new Intl.NumberFormat(locale, {
        minimumFractionDigits: 1,
        maximumFractionDigits: 1,
      }).format(value / size);
      return `${scaled}\u00a0${suffix}`;
    }
  }
  return exact(value, locale);
}

export function exact(value: number, locale: string): string {
  return new Intl.NumberFormat(locale, { maximumFractionDigits: 0 }).format(value);
}

/** A share in 0..1 as `98.2 %`. */
export function percent(value: number, locale: string, decimals = 1): string {
  return new Intl.NumberFormat(locale, {
    style: "percent",
    minimumFractionDigits: decimals,
    maximumFractionDigits: decimals,
  }).format(value);
}

/** Milliseconds as `840 ms`, `1.24 s` or `2 min 5 s`. */
export function duration(ms: number): string {
  if (ms === 0) return "<\u00a01\u00a0ms";
  if (ms < 1) return `${ms.toFixed(2)}\u00a0ms`;
  if (ms < KILO) return `${Math.round(ms)}\u00a0ms`;
  if (ms < MINUTE) return `${(ms / KILO).toFixed(2)}\u00a0s`;
  const minutes = Math.floor(ms / MINUTE);
  return `${minutes}\u00a0min ${Math.round((ms - minutes * MINUTE) / KILO)}\u00a0s`;
}

/** A setting in the unit it was meant in: `5 s`, `2 min`; what is not whole stays precise. */
export function setting(ms: number): string {
  if (ms >= MINUTE && ms % MINUTE === 0) return `${ms / MINUTE}\u00a0min`;
  if (ms >= KILO && ms % KILO === 0) return `${ms / KILO}\u00a0s`;
  return duration(ms);
}
