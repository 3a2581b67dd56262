import { Group } from "@mantine/core";
import { IconPencil } from "@tabler/icons-react";
import { useTranslation } from "react-i18next";
import { api } from "@/api/client";
import { useMay, useOwnTenant } from "@/api/session";
import type { Limits, Tenant } from "@/api/types";
import { DetailDrawer, DrawerSection, Facts } from "@/components/DetailDrawer";
import { DrawerSkeleton } from "@/components/DrawerSkeleton";
import { ErrorState } from "@/components/ErrorState";
import { CountText, TimeText } from "@/components/Figures";
import { Id } from "@/components/Id";
import { AnchorLink, ButtonLink } from "@/components/links";
import { ManagedNote } from "@/components/ManagedNote";
import { Note } from "@/components/Meaning";
import { MiniTable } from "@/components/MiniTable";
import { State } from "@/components/State";
import { Balance } from "./Balance";
import { Budgets } from "./Budgets";
import { Projects } from "./Projects";

export function TenantDrawer({ id, onClose }: { id: string | undefined; onClose: () => void }) {
  const { t } = useTranslation();
  const may = useMay();
  const tenant = api.useQuery(
    "get",
    "/admin/v1/tenants/{id}",
    { params: { path: { id: id ?? "" } } },
    { enabled: id !== undefined },
  );
  const shown = tenant.data;
  return (
    <DetailDrawer
      opened={id !== undefined}
      onClose={onClose}
      title={shown?.name ?? ""}
      subtitle={id ? <Id value={id} full /> : null}
      actions={
        shown?.managed_by === "api" && may("tenants.write") ? (
          <ButtonLink
            to="/tenants/$id"
            params={{ id: shown.id }}
            variant="default"
            size="xs"
            leftSection={<IconPencil size={14} />}
          >
            {t("edit")}
          </ButtonLink>
        ) : null
      }
    >
      {tenant.error ? (
        <ErrorState error={tenant.error} onRetry={() => void tenant.refetch()} />
      ) : null}
      {shown ? <TenantDetail tenant={shown} /> : <DrawerSkeleton />}
    </DetailDrawer>
  );
}

/** A tenant in whole: what it is, may and spends. */
export function TenantDetail({ tenant }: { tenant: Tenant }) {
  const { t } = useTranslation(["tenants", "common"]);
  const may = useMay();
  // Who has but one needs no filter for it.
  const own = useOwnTenant() !== null;
  const unlimited = t("common:unlimited");
  const isSome = (limits: Limits) => Object.values(limits).some((limit) => limit !== null);
  const finer = [
    [t("budgets.each"), tenant.end_user_limits] as const,
    ...Object.entries(tenant.model_limits),
  ].filter(([, limits]) => isSome(limits));
  const count = (value: number | null | undefined) =>
    value ? <CountText value={value} whole /> : unlimited;
  return (
    <>
      <ManagedNote by={tenant.managed_by} />
      {tenant.status === "suspended" ? (
        <Note tone="warning" title={t("suspendedTitle")}>
          {tenant.suspended_message ?? t("suspendedDefault")}
        </Note>
      ) : null}
      <DrawerSection title={t("about")}>
        <Facts
          rows={[
            [t("common:status"), <State key="status" value={tenant.status} />],
            [t("timeZone"), tenant.time_zone],
            [
              t("models"),
              tenant.allowed_models
                ? tenant.allowed_models.join(", ") || t("common:none")
                : t("allModels"),
            ],
            [t("common:created"), <TimeText key="created" at={tenant.created_at} exactly />],
            [t("common:updated"), <TimeText key="updated" at={tenant.updated_at} exactly />],
          ]}
        />
      </DrawerSection>
      {may("budgets.read") ? (
        <DrawerSection title={t("budgets.title")}>
          <Budgets tenant={tenant} />
        </DrawerSection>
      ) : null}
      {may("balances.read") ? <Balance tenant={tenant} /> : null}
      {may("projects.read") ? (
        <DrawerSection title={t("projects.title")}>
          <Projects tenant={tenant} />
        </DrawerSection>
      ) : null}
      <DrawerSection title={t("common:limits.title")}>
        <Facts
          rows={[
            [t("common:limits.requests_per_minute"), count(tenant.limits.requests_per_minute)],
            [t("common:limits.tokens_per_minute"), count(tenant.limits.tokens_per_minute)],
            [t("common:limits.concurrency"), count(tenant.limits.concurrency)],
          ]}
        />
      </DrawerSection>
      {finer.length > 0 ? (
        <DrawerSection title={t("finerLimits")}>
          <MiniTable
            label={t("finerLimits")}
            head={[
              t("limitOf"),
              t("common:limits.requests_per_minute"),
              t("common:limits.tokens_per_minute"),
              t("common:limits.concurrency"),
            ]}
            rows={finer.map(([name, limits]) => ({
              key: name,
              cells: [
                name,
                <CountText key="rpm" value={limits.requests_per_minute} whole />,
                <CountText key="tpm" value={limits.tokens_per_minute} whole />,
                <CountText key="concurrency" value={limits.concurrency} whole />,
              ],
            }))}
          />
        </DrawerSection>
      ) : null}
      <DrawerSection title={t("responses.title")}>
        <Facts
          rows={
            tenant.responses.mode === "stored"
              ? [
                  [t("responses.lifetime_hours"), count(tenant.responses.lifetime_hours)],
                  [t("responses.max_count"), count(tenant.responses.max_count)],
                  [t("responses.max_bytes"), count(tenant.responses.max_bytes)],
                ]
              : [[t("responses.store"), t("responses.off")]]
          }
        />
      </DrawerSection>
      <DrawerSection title={t("more")}>
        <Group gap="md">
          <AnchorLink to="/keys" search={own ? {} : { tenant: tenant.id }}>
            {t("seeKeys")}
          </AnchorLink>
          <AnchorLink to="/requests" search={own ? {} : { tenant: tenant.id }}>
            {t("seeRequests")}
          </AnchorLink>
          {may("bills.read") ? (
            <AnchorLink to="/bills" search={own ? {} : { tenant: tenant.id }}>
              {t("seeBills")}
            </AnchorLink>
          ) : null}
        </Group>
      </DrawerSection>
    </>
  );
}
