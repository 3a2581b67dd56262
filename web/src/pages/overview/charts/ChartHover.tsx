import classes from "./ChartHover.module.css";

interface Series {
  name: string;
  label: string;
  color: string | undefined;
}

/** All series at the time under the pointer, with their exact figures. */
export function ChartHover({
  label,
  payload,
  series,
  format,
}: {
  label: string;
  payload: readonly { dataKey?: unknown; value?: unknown }[] | undefined;
  series: Series[];
  format: (value: number) => string;
}) {
  if (!payload || payload.length === 0) return null;
  const value = (name: string) =>
    Number(payload.find(({ dataKey }) => dataKey === name)?.value ?? 0);
  return (
    <div className={classes.hover}>
      <div className={classes.label}>{label}</div>
      {series.map(({ name, label: words, color }) => (
        <div key={name} className={classes.line}>
          <svg width="8" height="8" aria-hidden="true">
            <circle cx="4" cy="4" r="4" fill={color} />
          </svg>
          <span>{words}</span>
          <span className={classes.value}>{format(value(name))}</span>
        </div>
      ))}
    </div>
  );
}
