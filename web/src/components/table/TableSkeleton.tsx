import { Skeleton } from "@mantine/core";
import classes from "./TableSkeleton.module.css";

const ROWS = ["a", "b", "c", "d", "e", "f", "g", "h"];
const COLUMNS = ["1", "2", "3", "4", "5", "6"];
const WIDTHS = ["62%", "48%", "70%", "40%", "56%"];

/** The table that is coming, in its own proportions, so that nothing jumps when it arrives. */
export function TableSkeleton({ columns, label }: { columns: number; label: string }) {
  return (
    <div className={classes.frame} role="status" aria-busy="true" aria-label={label}>
      {ROWS.map((row, down) => (
        <div className={classes.row} key={row}>
          {COLUMNS.slice(0, columns).map((column, across) => (
            <div className={classes.cell} key={column}>
              <Skeleton height={10} width={WIDTHS[(down + across) % WIDTHS.length]} radius="xs" />
            </div>
          ))}
        </div>
      ))}
    </div>
  );
}
