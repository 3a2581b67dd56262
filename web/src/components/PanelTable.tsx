import { Button, Text } from "@mantine/core";
import { IconPlus } from "@tabler/icons-react";
import type { ReactNode } from "react";
import { useTranslation } from "react-i18next";
import { MiniTable } from "./MiniTable";

interface Props {
  label: string;
  /** What stands there before there is a row. */
  empty: string;
  head: string[];
  /** None while they are loading. */
  rows: { key: string; cells: ReactNode[]; menu?: ReactNode }[] | undefined;
  words?: 1 | 2;
  /** Absent for who may change nothing: then there are no menus either. */
  add?: { label: string; onAdd: () => void } | undefined;
}

/** A list that belongs to what a panel shows: a table with a menu a row, and a way to add one. */
export function PanelTable({ label, empty, head, rows, words = 2, add }: Props) {
  const { t } = useTranslation();
  return (
    <>
      {rows?.length === 0 ? (
        <Text fz="sm" c="dimmed">
          {empty}
        </Text>
      ) : null}
      {rows && rows.length > 0 ? (
        <MiniTable
          label={label}
          words={words}
          head={add ? [...head, t("actions")] : head}
          rows={rows.map(({ key, cells, menu = null }) => ({
            key,
            cells: add ? [...cells, menu] : cells,
          }))}
        />
      ) : null}
      {add ? (
        <Button
          variant="default"
          size="xs"
          mt="xs"
          leftSection={<IconPlus size={14} />}
          onClick={add.onAdd}
        >
          {add.label}
        </Button>
      ) : null}
    </>
  );
}
