import { Table } from "@mantine/core";
import { useTable } from "@tanstack/react-table";
import { type KeyboardEvent, type ReactNode, useRef } from "react";
import { ErrorState } from "@/components/ErrorState";
import classes from "./DataTable.module.css";
import { type Column, type ColumnLook, features } from "./features";
import { TableSkeleton } from "./TableSkeleton";

interface Props<Row extends object> {
  /** Names the table for those who cannot see it. */
  label: string;
  columns: Column<Row>[];
  rows: Row[] | undefined;
  rowId: (row: Row) => string;
  error?: unknown;
  onRetry?: () => void;
  /** What stands here when there is nothing. */
  empty: ReactNode;
  onOpen?: (row: Row) => void;
  openId?: string | undefined;
  footer?: ReactNode;
  /** True while newer rows are on the way and the shown ones are the old. */
  stale?: boolean;
}

const NONE: never[] = [];

function cellClass(look: ColumnLook | undefined): string {
  return [look?.align === "right" ? classes.right : "", look?.from ? classes[look.from] : ""]
    .filter(Boolean)
    .join(" ");
}

/** Moves between rows with j and k or the arrows; Enter or o opens. */
function moveFocus(event: KeyboardEvent<HTMLTableSectionElement>, step: 1 | -1) {
  const row = (event.target as HTMLElement).closest("tr");
  const next = step === 1 ? row?.nextElementSibling : row?.previousElementSibling;
  if (next instanceof HTMLElement) {
    event.preventDefault();
    next.focus();
  }
}

export function DataTable<Row extends object>(props: Props<Row>) {
  const { columns, rows, rowId, error, empty, onOpen, openId } = props;
  const body = useRef<HTMLTableSectionElement>(null);
  const table = useTable({ features, columns, data: rows ?? NONE, getRowId: rowId });

  if (error && !rows) return <ErrorState error={error} onRetry={props.onRetry} />;
  if (!rows) return <TableSkeleton columns={columns.length} label={props.label} />;
  if (rows.length === 0) return <>{empty}</>;

  const onKeyDown = (event: KeyboardEvent<HTMLTableSectionElement>) => {
    if (event.target instanceof HTMLInputElement) return;
    if (event.key === "j" || event.key === "ArrowDown") moveFocus(event, 1);
    if (event.key === "k" || event.key === "ArrowUp") moveFocus(event, -1);
  };

  return (
    <div className={classes.frame} data-stale={props.stale || undefined}>
      <Table.ScrollContainer minWidth={0} type="native" className={classes.scroll}>
        <Table aria-label={props.label} className={classes.table}>
          <Table.Thead>
            {table.getHeaderGroups().map((group) => (
              <Table.Tr key={group.id}>
                {group.headers.map((header) => (
                  <Table.Th key={header.id} className={cellClass(header.column.columnDef.meta)}>
                    <table.FlexRender header={header} />
                  </Table.Th>
                ))}
              </Table.Tr>
            ))}
          </Table.Thead>
          <Table.Tbody ref={body} onKeyDown={onKeyDown}>
            {table.getRowModel().rows.map((row, index) => (
              <Table.Tr
                key={row.id}
                className={onOpen ? classes.open : undefined}
                data-selected={row.id === openId || undefined}
                tabIndex={onOpen ? (index === 0 || row.id === openId ? 0 : -1) : undefined}
                onClick={onOpen ? () => onOpen(row.original) : undefined}
                onKeyDown={
                  onOpen
                    ? (event) => {
                        if (event.target !== event.currentTarget) return;
                        if (event.key === "Enter" || event.key === "o") onOpen(row.original);
                      }
                    : undefined
                }
              >
                {row.getAllCells().map((cell) => (
                  <Table.Td key={cell.id} className={cellClass(cell.column.columnDef.meta)}>
                    <table.FlexRender cell={cell} />
                  </Table.Td>
                ))}
              </Table.Tr>
            ))}
          </Table.Tbody>
          {props.footer}
        </Table>
      </Table.ScrollContainer>
    </div>
  );
}
