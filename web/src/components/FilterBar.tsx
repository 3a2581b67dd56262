import { Button, Group, Kbd, Select, TextInput } from "@mantine/core";
import { IconSearch, IconX } from "@tabler/icons-react";
import type { ReactNode } from "react";
import { useTranslation } from "react-i18next";
import classes from "./FilterBar.module.css";

/** The filters of a list; they stand in the address, so that a link shows the same rows. */
export function FilterBar({
  children,
  active,
  onClear,
}: {
  children: ReactNode;
  active: boolean;
  onClear: () => void;
}) {
  const { t } = useTranslation();
  return (
    <Group gap="xs" className={classes.bar} role="search">
      {children}
      {active ? (
        <Button variant="subtle" color="gray" leftSection={<IconX size={14} />} onClick={onClear}>
          {t("clearFilters")}
        </Button>
      ) : null}
    </Group>
  );
}

export function NameFilter({
  value,
  onChange,
}: {
  value: string | undefined;
  onChange: (value: string | undefined) => void;
}) {
  const { t } = useTranslation();
  return (
    <TextInput
      data-filter
      className={classes.name}
      type="search"
      aria-label={t("filter")}
      placeholder={t("filter")}
      leftSection={<IconSearch size={15} />}
      rightSection={
        value ? null : (
          <Kbd fz={11} visibleFrom="sm">
            /
          </Kbd>
        )
      }
      value={value ?? ""}
      onChange={(event) => onChange(event.currentTarget.value || undefined)}
      onKeyDown={(event) => {
        if (event.key === "Escape") event.currentTarget.blur();
      }}
    />
  );
}

export function SelectFilter({
  label,
  value,
  choices,
  onChange,
}: {
  label: string;
  value: string | undefined;
  choices: { value: string; label: string }[];
  onChange: (value: string | undefined) => void;
}) {
  return (
    <Select
      className={classes.select}
      aria-label={label}
      placeholder={label}
      data={choices}
      value={value ?? null}
      searchable={choices.length > 8}
      clearable
      onChange={(chosen) => onChange(chosen ?? undefined)}
    />
  );
}
