import { MantineProvider } from "@mantine/core";
import { createColumnHelper } from "@tanstack/react-table";
import { cleanup, fireEvent, render, screen } from "@testing-library/react";
import { afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { ApiError } from "@/api/problem";
import { startI18n } from "@/i18n";
import { DataTable } from "./DataTable";
import type { Column, TableFeatures } from "./features";

interface Row {
  id: string;
  name: string;
}

const column = createColumnHelper<TableFeatures, Row>();
const columns: Column<Row>[] = [
  column.display({ id: "name", header: "Name", cell: ({ row }) => row.original.name }),
];
const rows = [
  { id: "a", name: "acme" },
  { id: "b", name: "globex" },
];

function show(props: Partial<Parameters<typeof DataTable<Row>>[0]>) {
  return render(
    <MantineProvider>
      <DataTable
        label="Tenants"
        columns={columns}
        rows={rows}
        rowId={({ id }) => id}
        empty={<p>none yet</p>}
        {...props}
      />
    </MantineProvider>,
  );
}

beforeAll(() => startI18n("en"));
afterEach(cleanup);

describe("a table", () => {
  it("shows a skeleton first, then rows, or teaches when there are none", () => {
    const { unmount } = show({ rows: undefined });
    expect(screen.getByRole("status", { name: "Tenants" })).toBeDefined();
    unmount();
    show({ rows: [] });
    expect(screen.getByText("none yet")).toBeDefined();
  });

  it("moves with j and k and opens with Enter", () => {
    const onOpen = vi.fn();
    show({ onOpen });
    const [, first, second] = screen.getAllByRole("row") as [HTMLElement, HTMLElement, HTMLElement];
    first.focus();
    fireEvent.keyDown(first, { key: "j" });
    expect(document.activeElement).toBe(second);
    fireEvent.keyDown(second, { key: "Enter" });
    expect(onOpen).toHaveBeenCalledExactlyOnceWith(rows[1]);
    fireEvent.keyDown(second, { key: "k" });
    expect(document.activeElement).toBe(first);
  });

  it("says what failed with the request id, and can try again", () => {
    const onRetry = vi.fn();
    show({
      rows: undefined,
      error: new ApiError(503, "GET", "/admin/v1/tenants", null, "adm_42"),
      onRetry,
    });
    expect(screen.getByRole("alert").textContent).toContain("The request failed (503)");
    expect(screen.getByText("adm_42")).toBeDefined();
    fireEvent.click(screen.getByRole("button", { name: "Try again" }));
    expect(onRetry).toHaveBeenCalledOnce();
  });

  it("keeps the old rows in sight when a refresh fails", () => {
    show({ error: new ApiError(503, "GET", "/admin/v1/tenants", null, null) });
    expect(screen.getByText("acme")).toBeDefined();
  });
});
