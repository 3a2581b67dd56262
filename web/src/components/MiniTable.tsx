import type { ReactNode } from "react";
import classes from "./MiniTable.module.css";

/** A small table inside a panel or drawer: words at the left, then figures at the right. */
export function MiniTable({
  label,
  head,
  rows,
  foot,
  words = 1,
}: {
  label: string;
  head: string[];
  rows: { key: string; cells: ReactNode[] }[];
  foot?: ReactNode[][];
  /** How many of the first columns are words. */
  words?: 1 | 2;
}) {
  return (
    <div className={classes.scroll}>
      <table className={classes.table} data-words={words} aria-label={label}>
        <thead>
          <tr>
            {head.map((name) => (
              <th key={name} scope="col">
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map(({ key, cells }) => (
            <tr key={key}>
              {cells.map((cell, index) => (
                <td key={head[index]}>{cell}</td>
              ))}
            </tr>
          ))}
        </tbody>
        {foot ? (
          <tfoot>
            {foot.map((cells) => (
              <tr key={String(cells[0])}>
                {cells.map((cell, index) => (
                  <td key={head[index]}>{cell}</td>
                ))}
              </tr>
            ))}
          </tfoot>
        ) : null}
      </table>
    </div>
  );
}
