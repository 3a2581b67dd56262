import { Text } from "@mantine/core";
import { IconPencil } from "@tabler/icons-react";
import { useTranslation } from "react-i18next";
import { api } from "@/api/client";
import { useMay } from "@/api/session";
import type { Model } from "@/api/types";
import { DetailDrawer, DrawerSection, Facts } from "@/components/DetailDrawer";
import { DrawerSkeleton } from "@/components/DrawerSkeleton";
import { ErrorState } from "@/components/ErrorState";
import { TimeText } from "@/components/Figures";
import { Id } from "@/components/Id";
import { AnchorLink, ButtonLink } from "@/components/links";
import { ManagedNote } from "@/components/ManagedNote";
import { MiniTable } from "@/components/MiniTable";
import { State } from "@/components/State";
import { PriceHistory } from "./PriceHistory";

export function ModelDrawer({ id, onClose }: { id: string | undefined; onClose: () => void }) {
  const { t } = useTranslation("common");
  const may = useMay();
  const model = api.useQuery(
    "get",
    "/admin/v1/models/{id}",
    { params: { path: { id: id ?? "" } } },
    { enabled: id !== undefined },
  );
  const shown = model.data;
  return (
    <DetailDrawer
      opened={id !== undefined}
      onClose={onClose}
      title={shown?.name ?? ""}
      subtitle={id ? <Id value={id} full /> : null}
      actions={
        shown?.managed_by === "api" && may("models.write") ? (
          <ButtonLink
            to="/models/$id"
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
      {model.error ? <ErrorState error={model.error} onRetry={() => void model.refetch()} /> : null}
      {shown ? <Detail model={shown} /> : model.error ? null : <DrawerSkeleton />}
    </DetailDrawer>
  );
}

function Detail({ model }: { model: Model }) {
  const { t } = useTranslation(["models", "common"]);
  return (
    <>
      <ManagedNote by={model.managed_by} />
      <DrawerSection title={t("about")}>
        <Facts
          rows={[
            [t("common:status"), <State key="s" value={model.status} />],
            [t("aliases"), model.aliases.join(", ") || t("noAlias")],
            [t("strict"), model.strict ? t("strictOn") : t("strictOff")],
            [t("common:updated"), <TimeText key="t" at={model.updated_at} exactly />],
            [
              t("use"),
              <AnchorLink key="r" fz="sm" to="/requests" search={{ model: model.name }}>
                {t("seeRequests")}
              </AnchorLink>,
            ],
          ]}
        />
      </DrawerSection>
      <DrawerSection title={t("targets")}>
        {model.targets.length === 0 ? (
          <Text fz="sm" c="dimmed">
            {t("noTarget")}
          </Text>
        ) : (
          <MiniTable
            label={t("targets")}
            words={2}
            head={[t("upstreamModel"), t("upstream"), t("priority"), t("weight")]}
            rows={model.targets.map((target) => ({
              key: target.id,
              cells: [
                <span key="m" className="tg-mono">
                  {target.upstream_model}
                </span>,
                <AnchorLink key="u" fz="sm" to="/upstreams" search={{ open: target.upstream_id }}>
                  {target.upstream}
                </AnchorLink>,
                target.priority,
                target.weight,
              ],
            }))}
          />
        )}
      </DrawerSection>
      <DrawerSection title={t("prices")}>
        <PriceHistory model={model} />
      </DrawerSection>
    </>
  );
}
