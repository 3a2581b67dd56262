import classes from "./Brand.module.css";

/** Four strokes and the one that closes the count: a tally, and a gate. */
export function Brand({ size = 22 }: { size?: number }) {
  return (
    <span className={classes.brand}>
      <svg width={size} height={size} viewBox="0 0 24 24" aria-hidden="true">
        <g fill="none" strokeLinecap="round" strokeWidth="2">
          <path className={classes.stroke} d="M5 5v14M10 5v14M15 5v14M20 5v14" />
          <path className={classes.cross} d="M2 16 23 8" />
        </g>
      </svg>
      Tallygate
    </span>
  );
}
