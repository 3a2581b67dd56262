import { Button } from "@mantine/core";
import { IconBan, IconPlus, IconTicket } from "@tabler/icons-react";
import { keepPreviousData } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { createColumnHelper } from "@tanstack/react-table";
import { useMemo, useState } from "react";
import { useTranslation } from "react-i18next";
import { useChanged } from "@/api/changes";
import { api } from "@/api/client";
import { PAGE, useTenantName } from "@/api/lists";
import { useMay } from "@/api/session";
import type { Voucher } from "@/api/types";
import { ConfirmByName } from "@/components/ConfirmByName";
import { EmptyState } from "@/components/EmptyState";
import { Absent, MoneyText, TimeText } from "@/components/Figures";
import { FilterBar, SelectFilter } from "@/components/FilterBar";
import { IconAction } from "@/components/IconAction";
import { Meaning, type Tone } from "@/components/Meaning";
import { PageHeader } from "@/components/PageHeader";
import { DataTable } from "@/components/table/DataTable";
import type { Column, TableFeatures } from "@/components/table/features";
import { Pager } from "@/components/table/Pager";
import { MintVouchers } from "./MintVouchers";

const route = getRouteApi("/app/vouchers");
const column = createColumnHelper<TableFeatures, Voucher>();

const TONES = {
  open: "good",
  redeemed: "quiet",
  revoked: "quiet",
  expired: "warning",
} as const satisfies Record<Voucher["state"], Tone>;
const STATES = Object.keys(TONES) as Voucher["state"][];

export function VouchersPage() {
  const { t } = useTranslation(["balances", "common"]);
  const may = useMay();
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const tenantName = useTenantName();
  const [minting, setMinting] = useState(false);
  const [revoking, setRevoking] = useState<Voucher>();
  const state = STATES.find((known) => known === search.state);
  const vouchers = api.useQuery(
    "get",
    "/admin/v1/vouchers",
    { params: { query: { limit: PAGE, state, after: search.after } } },
    { placeholderData: keepPreviousData },
  );
  const writes = may("vouchers.write");
  const set = (change: Partial<typeof search>) =>
    void navigate({ search: { ...search, after: undefined, ...change }, replace: true });

  const columns = useMemo((): Column<Voucher>[] => {
    const named = (id: string | null) => (id ? (tenantName(id) ?? id) : null);
    return [
      column.display({
        id: "voucher",
        header: t("voucher"),
        cell: ({ row: { original } }) => (
          <>
            <strong>…{original.last4}</strong> {original.note}
          </>
        ),
      }),
      column.display({
        id: "state",
        header: t("common:status"),
        cell: ({ row: { original } }) => (
          <Meaning tone={TONES[original.state]}>{t(`voucherStates.${original.state}`)}</Meaning>
        ),
      }),
      column.display({
        id: "tenant",
        header: t("tenant"),
        meta: { from: "sm" },
        cell: ({ row: { original } }) =>
          named(original.redeemed_by ?? original.tenant_id) ?? t("anyTenant"),
      }),
      column.display({
        id: "expires",
        header: t("expires"),
        meta: { from: "sm" },
        cell: ({ row: { original } }) =>
          original.state === "open" ? <TimeText at={original.expires_at} /> : <Absent />,
      }),
      column.display({
        id: "created",
        header: t("minted"),
        meta: { from: "md" },
        cell: ({ row: { original } }) => <TimeText at={original.created_at} />,
      }),
      column.display({
        id: "amount",
        header: t("amount"),
        meta: { align: "right" },
        cell: ({ row: { original } }) => <MoneyText money={original} />,
      }),
      ...(writes
        ? [
            column.display({
              id: "revoke",
              header: t("common:actions"),
              meta: { align: "right" },
              cell: ({ row: { original } }) =>
                original.state === "open" ? (
                  <IconAction
                    label={t("revokeOne", { last4: original.last4 })}
                    onClick={() => setRevoking(original)}
                  >
                    <IconBan size={16} />
                  </IconAction>
                ) : null,
            }),
          ]
        : []),
    ];
  }, [t, tenantName, writes]);

  const mint = writes ? (
    <Button leftSection={<IconPlus size={16} />} onClick={() => setMinting(true)}>
      {t("mint")}
    </Button>
  ) : null;
  return (
    <>
      <PageHeader title={t("vouchers")} purpose={t("vouchersPurpose")} action={mint} />
      <FilterBar active={Boolean(state)} onClear={() => set({ state: undefined })}>
        <SelectFilter
          label={t("anyState")}
          value={state}
          choices={STATES.map((value) => ({ value, label: t(`voucherStates.${value}`) }))}
          onChange={(value) => set({ state: value })}
        />
      </FilterBar>
      <DataTable
        label={t("vouchers")}
        columns={columns}
        rows={vouchers.data?.data}
        rowId={(voucher) => voucher.id}
        error={vouchers.error}
        onRetry={() => void vouchers.refetch()}
        stale={vouchers.isPlaceholderData}
        empty={
          <EmptyState icon={IconTicket} title={t("noVouchers.title")} action={mint}>
            {t("noVouchers.body")}
          </EmptyState>
        }
      />
      <Pager
        after={search.after}
        next={vouchers.data?.next_cursor}
        onGo={(after) => void navigate({ search: { ...search, after } })}
      />
      {minting ? <MintVouchers onClose={() => setMinting(false)} /> : null}
      {revoking ? <Revoke voucher={revoking} onClose={() => setRevoking(undefined)} /> : null}
    </>
  );
}

function Revoke({ voucher, onClose }: { voucher: Voucher; onClose: () => void }) {
  const { t } = useTranslation("balances");
  const changed = useChanged("vouchers");
  const revoke = api.useMutation("post", "/admin/v1/vouchers/{id}:revoke", {
    onSuccess: () => {
      onClose();
      changed(t("revoked"));
    },
  });
  return (
    <ConfirmByName
      opened
      title={t("revokeAsk", { last4: voucher.last4 })}
      name={voucher.last4}
      act={t("revoke")}
      busy={revoke.isPending}
      error={revoke.error}
      onClose={onClose}
      onConfirm={() => revoke.mutate({ params: { path: { id: voucher.id } } })}
    >
      {t("revokeEffect")}
    </ConfirmByName>
  );
}
