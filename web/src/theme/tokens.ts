import type { MantineColorsTuple } from "@mantine/core";

/** Every figure of the design stands here; pages use the names, never the numbers. */

/** What can be acted on: a deep teal that holds its contrast on both themes. */
export const accent: MantineColorsTuple = [
  "#e7f4f2",
  "#cfe8e4",
  "#a3d3cc",
  "#74bdb4",
  "#4aa99e",
  "#26958a",
  "#107f76",
  "#0b6b64",
  "#085852",
  "#064640",
];

/** Neutrals of the light theme, leaning a hair towards the accent. */
export const gray: MantineColorsTuple = [
  "#f6f8f8",
  "#eef2f1",
  "#e2e8e7",
  "#d3dbda",
  "#b9c4c3",
  "#93a09f",
  "#6a7877",
  "#4a5756",
  "#2f3a39",
  "#182120",
];

/** Neutrals of the dark theme, from text (0) to the page (7) and below. */
export const dark: MantineColorsTuple = [
  "#dbe3e2",
  "#b6c2c1",
  "#8f9d9c",
  "#6b7978",
  "#334040",
  "#283334",
  "#1a2324",
  "#121919",
  "#0d1313",
  "#080c0c",
];

export const fontSizes = {
  xs: "12px",
  sm: "13px",
  md: "14px",
  lg: "18px",
  xl: "24px",
} as const;

export const spacing = {
  xxs: "4px",
  xs: "8px",
  sm: "12px",
  md: "16px",
  lg: "24px",
  xl: "32px",
} as const;

export const fonts = {
  text: '"Inter Variable", "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", system-ui, sans-serif',
  mono: '"JetBrains Mono Variable", ui-monospace, "Noto Sans CJK SC", monospace',
} as const;

/** The Okabe–Ito order, its yellow darkened so that a thin line still reads on white. */
export const categorical = [
  "#0072b2",
  "#e69f00",
  "#009e73",
  "#cc79a7",
  "#56b4e9",
  "#d55e00",
  "#b8a800",
  "#8a9695",
] as const;

export const layout = {
  navWidth: 216,
  headerHeight: 48,
  contentMax: 1440,
  drawerWidth: 640,
  formWidth: 640,
} as const;

/** Milliseconds; long enough to see where a thing came from, short enough not to wait. */
export const motion = { quick: 120, calm: 160 } as const;
