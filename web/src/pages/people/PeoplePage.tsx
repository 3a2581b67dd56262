import { Button } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { IconPlus, IconUsers } from "@tabler/icons-react";
import { keepPreviousData } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { createColumnHelper } from "@tanstack/react-table";
import { useMemo, useState } from "react";
import { useTranslation } from "react-i18next";
import { api } from "@/api/client";
import { PAGE, TYPING_MS, useTenantName, useTenants } from "@/api/lists";
import { useMay, useSession } from "@/api/session";
import type { User } from "@/api/types";
import { EmptyState } from "@/components/EmptyState";
import { TimeText } from "@/components/Figures";
import { FilterBar, NameFilter, SelectFilter } from "@/components/FilterBar";
import { NothingFound } from "@/components/NothingFound";
import { PageHeader } from "@/components/PageHeader";
import { State } from "@/components/State";
import { DataTable } from "@/components/table/DataTable";
import type { Column, TableFeatures } from "@/components/table/features";
import { Pager } from "@/components/table/Pager";
import { PersonForm } from "./PersonForm";
import { rolesToGive } from "./roles";

const route = getRouteApi("/app/people");
const column = createColumnHelper<TableFeatures, User>();

export function PeoplePage() {
  const { t } = useTranslation(["people", "common"]);
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const session = useSession();
  const staff = session.tenant === null;
  const may = useMay();
  const tenants = useTenants(staff);
  const [adding, setAdding] = useState(false);
  const [q] = useDebouncedValue(search.q, TYPING_MS);
  const people = api.useQuery(
    "get",
    "/admin/v1/users",
    { params: { query: { limit: PAGE, after: search.after, q, tenant_id: search.tenant } } },
    { placeholderData: keepPreviousData },
  );
  const columns = usePeopleColumns(staff);
  const rows = people.data?.data;
  const filtered = Boolean(search.q || search.tenant);
  const set = (change: Partial<typeof search>) =>
    void navigate({ search: { ...search, after: undefined, ...change }, replace: true });
  const clear = () => set({ q: undefined, tenant: undefined });
  const open = rows?.find(({ id }) => id === search.open);
  /** Who may change a person: those who may give their role, and everybody themself. */
  const changes = (person: User) =>
    may("users.write") && (person.id === session.id || rolesToGive(session).includes(person.role));
  const add = may("users.write") ? (
    <Button leftSection={<IconPlus size={16} />} onClick={() => setAdding(true)}>
      {t("add")}
    </Button>
  ) : null;
  return (
    <>
      <PageHeader
        title={t("title")}
        purpose={staff ? t("purpose") : t("ownPurpose")}
        action={add}
      />
      <FilterBar active={filtered} onClear={clear}>
        <NameFilter value={search.q} onChange={(q) => set({ q })} />
        {staff ? (
          <SelectFilter
            label={t("common:anyTenant")}
            value={search.tenant}
            choices={tenants.data?.data.map(({ id, name }) => ({ value: id, label: name })) ?? []}
            onChange={(tenant) => set({ tenant })}
          />
        ) : null}
      </FilterBar>
      <DataTable
        label={t("title")}
        columns={columns}
        rows={rows}
        rowId={(person) => person.id}
        error={people.error}
        onRetry={() => void people.refetch()}
        stale={people.isPlaceholderData}
        {...(may("users.write")
          ? { onOpen: (person: User) => set({ open: person.id, after: search.after }) }
          : {})}
        empty={
          filtered ? (
            <NothingFound onClear={clear} />
          ) : (
            <EmptyState icon={IconUsers} title={t("empty.title")}>
              {t("empty.body")}
            </EmptyState>
          )
        }
      />
      <Pager
        after={search.after}
        next={people.data?.next_cursor}
        onGo={(after) => void navigate({ search: { ...search, after } })}
      />
      {adding ? <PersonForm tenant={search.tenant} onClose={() => setAdding(false)} /> : null}
      {open && changes(open) ? (
        <PersonForm
          key={open.id}
          person={open}
          onClose={() => set({ open: undefined, after: search.after })}
        />
      ) : null}
    </>
  );
}

function usePeopleColumns(staff: boolean): Column<User>[] {
  const { t } = useTranslation(["people", "common"]);
  const { id: self } = useSession();
  const tenantName = useTenantName();
  return useMemo(
    () => [
      column.display({
        id: "name",
        header: t("common:name"),
        cell: ({ row: { original } }) => (
          <>
            <strong>{original.name}</strong>
            {original.id === self ? ` (${t("you")})` : ""}
          </>
        ),
      }),
      column.display({
        id: "email",
        header: t("email"),
        cell: ({ row: { original } }) => original.email,
      }),
      column.display({
        id: "role",
        header: t("role"),
        cell: ({ row: { original } }) => t(`common:role.${original.role}`),
      }),
      ...(staff
        ? [
            column.display({
              id: "tenant",
              header: t("tenant"),
              meta: { from: "sm" as const },
              cell: ({ row: { original } }) =>
                original.tenant_id
                  ? (tenantName(original.tenant_id) ?? original.tenant_id)
                  : t("staff"),
            }),
          ]
        : []),
      column.display({
        id: "status",
        header: t("common:status"),
        meta: { from: "sm" },
        cell: ({ row: { original } }) => <State value={original.status} />,
      }),
      column.display({
        id: "login",
        header: t("lastLogin"),
        meta: { align: "right", from: "md" },
        cell: ({ row: { original } }) =>
          original.last_login_at ? <TimeText at={original.last_login_at} /> : t("common:never"),
      }),
    ],
    [t, staff, self, tenantName],
  );
}
