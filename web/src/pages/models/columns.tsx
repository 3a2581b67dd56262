import { createColumnHelper } from "@tanstack/react-table";
import { useMemo } from "react";
import { useTranslation } from "react-i18next";
import type { ClassPrices, Model } from "@/api/types";
import { Absent } from "@/components/Figures";
import { Meaning } from "@/components/Meaning";
import { State } from "@/components/State";
import type { Column, TableFeatures } from "@/components/table/features";
import { PriceText } from "./PriceText";

const column = createColumnHelper<TableFeatures, Model>();

const PRICED = [
  "input_uncached",
  "input_cache_read",
  "output_text",
] as const satisfies readonly (keyof ClassPrices)[];

/** `anthropic-main 90 %, openai-eu 10 %`, then what stands in when those fail. */
function targetWords(model: Model): string {
  const levels = new Map<number, Model["targets"]>();
  for (const target of model.targets) {
    levels.set(target.priority, [...(levels.get(target.priority) ?? []), target]);
  }
  return [...levels.entries()]
    .sort(([a], [b]) => a - b)
    .map(([, targets]) => {
      const whole = targets.reduce((sum, { weight }) => sum + weight, 0);
      return targets
        .map(({ upstream, weight }) =>
          targets.length === 1 ? upstream : `${upstream} ${Math.round((weight / whole) * 100)}%`,
        )
        .join(", ");
    })
    .join(" → ");
}

export function useModelColumns(): Column<Model>[] {
  const { t } = useTranslation(["models", "common"]);
  return useMemo(
    () => [
      column.display({
        id: "name",
        header: t("publicName"),
        cell: ({ row: { original } }) => <strong>{original.name}</strong>,
      }),
      column.display({
        id: "status",
        header: t("common:status"),
        cell: ({ row: { original } }) =>
          original.status === "active" && !original.price ? (
            <Meaning tone="warning">{t("unpriced")}</Meaning>
          ) : (
            <State value={original.status} />
          ),
      }),
      column.display({
        id: "targets",
        header: t("servedFrom"),
        meta: { from: "sm" },
        cell: ({ row: { original } }) => targetWords(original) || <Absent />,
      }),
      ...PRICED.map((name) =>
        column.display({
          id: name,
          header: t("perMillion", { class: t(`common:usageClass.${name}`) }),
          meta: { align: "right" as const },
          cell: ({ row: { original } }) => <PriceText price={original.price} name={name} />,
        }),
      ),
    ],
    [t],
  );
}
