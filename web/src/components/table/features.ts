import { type ColumnDef, metaHelper, tableFeatures } from "@tanstack/react-table";

export interface ColumnLook {
  /** Figures people compare stand at the right. */
  align?: "right";
  /** Left out on screens narrower than this. */
  from?: "sm" | "md" | "lg";
}

/** Sorting, filtering and paging are the server's; the table only draws. */
export const features = tableFeatures({ columnMeta: metaHelper<ColumnLook>() });

export type TableFeatures = typeof features;
export type Column<Row extends object> = ColumnDef<TableFeatures, Row>;
