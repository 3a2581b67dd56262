import { Menu, Stack, Text } from "@mantine/core";
import { IconDots } from "@tabler/icons-react";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { ifMatch, useChanged } from "@/api/changes";
import { api } from "@/api/client";
import { useMay } from "@/api/session";
import type { Tenant, TenantBudget } from "@/api/types";
import { ConfirmByName } from "@/components/ConfirmByName";
import { ErrorState } from "@/components/ErrorState";
import { Absent, TimeText } from "@/components/Figures";
import { IconAction } from "@/components/IconAction";
import { Meaning } from "@/components/Meaning";
import { PanelTable } from "@/components/PanelTable";
import { BudgetForm } from "./BudgetForm";
import { SpentBar } from "./SpentBar";

/** Every budget that bounds this tenant, and how far each is spent in its window now. */
export function Budgets({ tenant }: { tenant: Tenant }) {
  const { t } = useTranslation(["tenants", "common"]);
  const may = useMay();
  const [editing, setEditing] = useState<TenantBudget | "new">();
  const [removing, setRemoving] = useState<TenantBudget>();
  const budgets = api.useQuery("get", "/admin/v1/tenants/{id}/budgets", {
    params: { path: { id: tenant.id } },
  });
  const name = useBudgetName(tenant);
  const writes = may("budgets.write");
  if (budgets.error)
    return <ErrorState error={budgets.error} onRetry={() => void budgets.refetch()} />;
  return (
    <>
      <PanelTable
        label={t("budgets.title")}
        empty={t("budgets.empty")}
        head={[t("budgets.of"), t("budgets.spent"), t("budgets.resets")]}
        rows={budgets.data?.data.map((budget) => ({
          key: `${budget.id ?? tenant.id} ${budget.end_user ?? ""}`,
          cells: [
            <Whose key="of" budget={budget} name={name(budget)} />,
            <Spent key="spent" budget={budget} />,
            <Resets key="resets" budget={budget} />,
          ],
          menu:
            budget.id && budget.managed_by === "api" ? (
              <BudgetMenu
                name={name(budget)}
                onEdit={() => setEditing(budget)}
                onRemove={() => setRemoving(budget)}
              />
            ) : null,
        }))}
        add={writes ? { label: t("budgets.add"), onAdd: () => setEditing("new") } : undefined}
      />
      {editing ? (
        <BudgetForm
          tenant={tenant}
          budget={editing === "new" ? undefined : editing}
          onClose={() => setEditing(undefined)}
        />
      ) : null}
      {removing ? (
        <RemoveBudget
          budget={removing}
          name={name(removing)}
          onClose={() => setRemoving(undefined)}
        />
      ) : null}
    </>
  );
}

function useBudgetName(tenant: Tenant): (budget: TenantBudget) => string {
  const { t } = useTranslation("tenants");
  return (budget) => budget.subject_name ?? (budget.is_of_each ? t("budgets.each") : tenant.name);
}

function Whose({ budget, name }: { budget: TenantBudget; name: string }) {
  const { t } = useTranslation("tenants");
  const scope = budget.is_of_each ? t("budgets.each") : t(`budgets.scope.${budget.scope}`);
  return (
    <Stack gap={0}>
      <strong>{name}</strong>
      <Text fz="xs" c="dimmed">
        {budget.id === null ? t("budgets.own") : scope} · {t(`budgets.modes.${budget.mode}`)}
      </Text>
    </Stack>
  );
}

function Spent({ budget }: { budget: TenantBudget }) {
  const { t } = useTranslation("tenants");
  const { amount, spent, currency } = budget;
  if (amount !== null && spent !== null)
    return <SpentBar of={{ amount, currency }} spent={spent} />;
  return budget.is_used_up ? <Meaning tone="bad">{t("budgets.usedUp")}</Meaning> : <Absent />;
}

function Resets({ budget }: { budget: TenantBudget }) {
  const { t } = useTranslation("tenants");
  return (
    <Stack gap={0} align="flex-end">
      {budget.resets_at ? <TimeText at={budget.resets_at} /> : t("budgets.never")}
      <Text fz="xs" c="dimmed">
        {t(`budgets.periods.${budget.period}`)}
      </Text>
    </Stack>
  );
}

function BudgetMenu(props: { name: string; onEdit: () => void; onRemove: () => void }) {
  const { t } = useTranslation(["tenants", "common"]);
  return (
    <Menu position="bottom-end">
      <Menu.Target>
        <IconAction label={t("budgets.actions", { name: props.name })}>
          <IconDots size={16} />
        </IconAction>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Item onClick={props.onEdit}>{t("common:edit")}</Menu.Item>
        <Menu.Item color="red" onClick={props.onRemove}>
          {t("common:remove")}
        </Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}

function RemoveBudget({
  budget,
  name,
  onClose,
}: {
  budget: TenantBudget;
  name: string;
  onClose: () => void;
}) {
  const { t } = useTranslation(["tenants", "common"]);
  const changed = useChanged("budgets");
  const remove = api.useMutation("delete", "/admin/v1/budgets/{id}", {
    onSuccess: () => {
      onClose();
      changed(t("budgets.removed", { name }));
    },
  });
  return (
    <ConfirmByName
      opened
      title={t("budgets.removeAsk", { name })}
      name={name}
      act={t("common:remove")}
      busy={remove.isPending}
      error={remove.error}
      onClose={onClose}
      onConfirm={() => {
        if (budget.id === null || budget.version === null) return;
        remove.mutate({ params: { path: { id: budget.id }, header: ifMatch(budget.version) } });
      }}
    >
      <Text fz="md">{t("budgets.removeEffect")}</Text>
    </ConfirmByName>
  );
}
