import { IconPencil } from "@tabler/icons-react";
import { useTranslation } from "react-i18next";
import { useMay } from "@/api/session";
import type { Route } from "@/api/types";
import { DetailDrawer, DrawerSection, Facts } from "@/components/DetailDrawer";
import { TimeText } from "@/components/Figures";
import { Id } from "@/components/Id";
import { ButtonLink } from "@/components/links";
import { ManagedNote } from "@/components/ManagedNote";
import { MiniTable } from "@/components/MiniTable";
import { State } from "@/components/State";
import { useLocale } from "@/i18n/useLocale";
import { matchWords } from "./columns";

export function RouteDrawer({ route, onClose }: { route: Route | undefined; onClose: () => void }) {
  const { t } = useTranslation("common");
  const may = useMay();
  return (
    <DetailDrawer
      opened={route !== undefined}
      onClose={onClose}
      title={route?.name ?? ""}
      subtitle={route ? <Id value={route.id} full /> : null}
      actions={
        route?.managed_by === "api" && may("routes.write") ? (
          <ButtonLink
            to="/routes/$id"
            params={{ id: route.id }}
            variant="default"
            size="xs"
            leftSection={<IconPencil size={14} />}
          >
            {t("edit")}
          </ButtonLink>
        ) : null
      }
    >
      {route ? <Detail route={route} /> : null}
    </DetailDrawer>
  );
}

function Detail({ route }: { route: Route }) {
  const { t } = useTranslation(["routes", "common"]);
  const { split, hedge, strategy, affinity } = route.routing;
  const conditions = matchWords(t, route.match, useLocale());
  return (
    <>
      <ManagedNote by={route.managed_by} />
      <DrawerSection title={t("about")}>
        <Facts
          rows={[
            [t("common:status"), <State key="s" value={route.status} />],
            [t("position"), route.position],
            [t("match.title"), conditions.join(" · ") || t("match.everything")],
            [t("common:updated"), <TimeText key="t" at={route.updated_at} exactly />],
          ]}
        />
      </DrawerSection>
      <DrawerSection title={t("choose")}>
        <Facts
          rows={[
            [t("strategy"), t(`strategies.${strategy}`)],
            [t("affinity"), t(affinity === "auto" ? "affinityOn" : "affinityOff")],
            [
              t("split.title"),
              split
                ? `${split.arms.map(({ name, weight }) => `${name} ${weight}`).join(" : ")} · ${split.by}`
                : t("common:none"),
            ],
            [
              t("hedge.title"),
              hedge
                ? t("hedge.words", { after: hedge.after_ms, percent: hedge.max_percent })
                : t("common:none"),
            ],
          ]}
        />
      </DrawerSection>
      <DrawerSection title={t("targets")}>
        <MiniTable
          label={t("targets")}
          words={2}
          head={[t("upstream"), t("upstreamModel"), t("arm"), t("priority"), t("weight")]}
          rows={route.targets.map((target) => ({
            key: target.id,
            cells: [
              target.upstream,
              target.upstream_model,
              target.arm ?? t("common:all"),
              target.priority,
              target.weight,
            ],
          }))}
        />
      </DrawerSection>
    </>
  );
}
