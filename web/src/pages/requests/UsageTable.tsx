import { Text } from "@mantine/core";
import { useTranslation } from "react-i18next";
import type { RequestDetail, Usage } from "@/api/types";
import { MiniTable } from "@/components/MiniTable";
import { useLocale } from "@/i18n/useLocale";
import { exact } from "@/lib/numbers";

/** Tokens by class, and where the counts come from. */
export function UsageTable({
  usage,
  source,
  estimator,
}: {
  usage: Usage;
  source: RequestDetail["usage_source"];
  estimator: string | null;
}) {
  const { t } = useTranslation(["requests", "common"]);
  const locale = useLocale();
  const used = (Object.keys(usage) as (keyof Usage)[]).filter((name) => usage[name] > 0);
  const total = used.reduce((sum, name) => sum + usage[name], 0);
  return (
    <>
      <Text fz="sm" c="dimmed" mb={used.length > 0 ? "xs" : 0}>
        {t(`source.${source}`)} {estimator ? t("estimator", { name: estimator }) : null}
      </Text>
      {used.length > 0 ? (
        <MiniTable
          label={t("usage")}
          head={[t("class"), t("tokens")]}
          rows={used.map((name) => ({
            key: name,
            cells: [t(`common:usageClass.${name}`), exact(usage[name], locale)],
          }))}
          foot={[[t("total"), exact(total, locale)]]}
        />
      ) : null}
    </>
  );
}
