import { Stack, Text } from "@mantine/core";
import { useTranslation } from "react-i18next";
import { api } from "@/api/client";
import type { ApiKey, EffectiveLimit } from "@/api/types";
import { DrawerSection } from "@/components/DetailDrawer";
import { Absent, CountText, TimeText } from "@/components/Figures";
import { MiniTable } from "@/components/MiniTable";

const DIMENSIONS = {
  requests: "requests_per_minute",
  tokens: "tokens_per_minute",
  concurrency: "concurrency",
} as const satisfies Record<EffectiveLimit["dimension"], string>;

/** Every limit that requests of this key meet, and where each stands. Without a data plane there is nothing to say. */
export function KeyLimits({ apiKey }: { apiKey: ApiKey }) {
  const { t } = useTranslation(["keys", "common"]);
  const limits = api.useQuery(
    "get",
    "/admin/v1/api-keys/{id}/limits",
    { params: { path: { id: apiKey.id } } },
    { enabled: apiKey.status === "active", retry: false },
  );
  const rows = limits.data?.data;
  if (!rows) return null;
  return (
    <DrawerSection title={t("now.title")}>
      <Text fz="sm" c="dimmed" mb="xs">
        {rows.length > 0 ? t("now.help") : t("now.empty")}
      </Text>
      {rows.length > 0 ? (
        <MiniTable
          label={t("now.title")}
          words={2}
          head={[t("now.limit"), t("now.of"), t("now.used"), t("now.most"), t("now.resets")]}
          rows={rows.map((limit) => ({
            key: `${limit.scope} ${limit.subject ?? ""} ${limit.dimension}`,
            cells: [
              t(`common:limits.${DIMENSIONS[limit.dimension]}`),
              <Whose key="of" limit={limit} />,
              <CountText key="used" value={limit.used} whole />,
              <CountText key="most" value={limit.limit} whole />,
              limit.resets_at ? <TimeText key="resets" at={limit.resets_at} /> : <Absent key="-" />,
            ],
          }))}
        />
      ) : null}
    </DrawerSection>
  );
}

function Whose({ limit }: { limit: EffectiveLimit }) {
  const { t } = useTranslation("keys");
  return (
    <Stack gap={0}>
      {limit.subject ?? t("now.each")}
      <Text fz="xs" c="dimmed">
        {t(`now.scope.${limit.scope}`)}
      </Text>
    </Stack>
  );
}
