import { Button, Text } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { IconPencil } from "@tabler/icons-react";
import { useTranslation } from "react-i18next";
import { useChanged } from "@/api/changes";
import { api } from "@/api/client";
import { useMay, useOwnTenant } from "@/api/session";
import type { ApiKey } from "@/api/types";
import { ConfirmByName } from "@/components/ConfirmByName";
import { DetailDrawer, DrawerSection, Facts } from "@/components/DetailDrawer";
import { DrawerSkeleton } from "@/components/DrawerSkeleton";
import { ErrorState } from "@/components/ErrorState";
import { CountText, TimeText } from "@/components/Figures";
import { Id } from "@/components/Id";
import { AnchorLink, ButtonLink } from "@/components/links";
import { ManagedNote } from "@/components/ManagedNote";
import { State } from "@/components/State";
import { maskedKey } from "./columns";
import { KeyLimits } from "./KeyLimits";
import { RotateKey } from "./RotateKey";

export function KeyDrawer({
  id,
  tenantName,
  onClose,
}: {
  id: string | undefined;
  tenantName: (id: string) => string | undefined;
  onClose: () => void;
}) {
  const { t } = useTranslation();
  const may = useMay();
  const key = api.useQuery(
    "get",
    "/admin/v1/api-keys/{id}",
    { params: { path: { id: id ?? "" } } },
    { enabled: id !== undefined },
  );
  return (
    <DetailDrawer
      opened={id !== undefined}
      onClose={onClose}
      title={key.data?.name ?? ""}
      subtitle={id ? <Id value={id} full /> : null}
      actions={
        key.data && isEditable(key.data) && may("api_keys.write") ? (
          <ButtonLink
            to="/keys/$id"
            params={{ id: key.data.id }}
            variant="default"
            size="xs"
            leftSection={<IconPencil size={14} />}
          >
            {t("edit")}
          </ButtonLink>
        ) : null
      }
    >
      {key.error ? <ErrorState error={key.error} onRetry={() => void key.refetch()} /> : null}
      {key.data ? (
        <KeyDetail apiKey={key.data} tenant={tenantName(key.data.tenant_id)} />
      ) : key.error ? null : (
        <DrawerSkeleton />
      )}
    </DetailDrawer>
  );
}

/** A revoked key does not change any more, and what the file declares is changed there. */
function isEditable(key: ApiKey): boolean {
  return key.status !== "revoked" && key.managed_by === "api";
}

function KeyDetail({ apiKey, tenant }: { apiKey: ApiKey; tenant: string | undefined }) {
  const { t } = useTranslation(["keys", "common"]);
  const may = useMay();
  const own = useOwnTenant() !== null;
  const count = (value: number | null) =>
    value ? <CountText value={value} whole /> : t("common:unlimited");
  return (
    <>
      <ManagedNote by={apiKey.managed_by} />
      <DrawerSection title={t("about")}>
        <Facts
          rows={[
            [t("common:status"), <State key="status" value={apiKey.status} />],
            ...(own
              ? []
              : ([
                  [
                    t("tenant"),
                    <AnchorLink
                      key="tenant"
                      to="/tenants"
                      search={{ open: apiKey.tenant_id }}
                      fz="sm"
                    >
                      {tenant ?? apiKey.tenant_id}
                    </AnchorLink>,
                  ],
                ] as [string, React.ReactNode][])),
            [
              t("key"),
              <span key="key" className="tg-mono">
                {maskedKey(apiKey)}
              </span>,
            ],
            [t("project"), apiKey.project ?? t("noProject")],
            [t("models"), apiKey.allowed_models?.join(", ") ?? t("allModels")],
            [t("endpoints"), apiKey.allowed_endpoints?.join(", ") ?? t("allEndpoints")],
            [t("networks"), apiKey.allowed_networks?.join(", ") ?? t("anyNetwork")],
            [t("lastUsed"), time(apiKey.last_used_at, t("common:never"))],
            [t("expires"), time(apiKey.expires_at, t("common:never"))],
            [t("common:created"), time(apiKey.created_at, "")],
          ]}
        />
      </DrawerSection>
      <DrawerSection title={t("common:limits.title")}>
        <Facts
          rows={[
            [t("common:limits.requests_per_minute"), count(apiKey.limits.requests_per_minute)],
            [t("common:limits.tokens_per_minute"), count(apiKey.limits.tokens_per_minute)],
            [t("common:limits.concurrency"), count(apiKey.limits.concurrency)],
          ]}
        />
      </DrawerSection>
      <KeyLimits apiKey={apiKey} />
      {may("api_keys.write") && isEditable(apiKey) ? <RotateSection apiKey={apiKey} /> : null}
      {may("api_keys.write") && apiKey.status !== "revoked" ? (
        <RevokeSection apiKey={apiKey} tenant={tenant ?? ""} />
      ) : null}
    </>
  );
}

function time(at: string | null, otherwise: string) {
  return at ? <TimeText key={at} at={at} exactly /> : otherwise;
}

function RotateSection({ apiKey }: { apiKey: ApiKey }) {
  const { t } = useTranslation("keys");
  const [rotating, { open, close }] = useDisclosure(false);
  const until = apiKey.previous_expires_at;
  return (
    <DrawerSection title={t("rotate.act")}>
      <Text fz="sm" c="dimmed" mb="sm">
        {t("rotate.help")}
      </Text>
      {until && Date.parse(until) > Date.now() ? (
        <Text fz="sm" mb="sm">
          {t("rotate.previous")} <TimeText at={until} exactly />
        </Text>
      ) : null}
      <Button variant="default" size="xs" onClick={open}>
        {t("rotate.act")}
      </Button>
      {rotating ? <RotateKey apiKey={apiKey} onClose={close} /> : null}
    </DrawerSection>
  );
}

function RevokeSection({ apiKey, tenant }: { apiKey: ApiKey; tenant: string }) {
  const { t } = useTranslation(["keys", "common"]);
  const [asking, { open, close }] = useDisclosure(false);
  const changed = useChanged("api-keys");
  const revoke = api.useMutation("post", "/admin/v1/api-keys/{id}:revoke", {
    onSuccess: () => {
      close();
      changed(t("revoked", { name: apiKey.name }));
    },
  });
  return (
    <DrawerSection title={t("revoke")}>
      <Text fz="sm" c="dimmed" mb="sm">
        {t("revokeHelp")}
      </Text>
      <Button variant="light" color="red" size="xs" onClick={open}>
        {t("revoke")}
      </Button>
      <ConfirmByName
        opened={asking}
        title={t("revokeAsk", { name: apiKey.name })}
        name={apiKey.name}
        act={t("revoke")}
        busy={revoke.isPending}
        error={revoke.error}
        onClose={close}
        onConfirm={() => revoke.mutate({ params: { path: { id: apiKey.id } } })}
      >
        <Text fz="md">{t("revokeEffect", { tenant })}</Text>
      </ConfirmByName>
    </DrawerSection>
  );
}
