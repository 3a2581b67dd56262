import { createColumnHelper } from "@tanstack/react-table";
import type { TFunction } from "i18next";
import { useMemo } from "react";
import { useTranslation } from "react-i18next";
import type { Route } from "@/api/types";
import { State } from "@/components/State";
import type { Column, TableFeatures } from "@/components/table/features";
import { useLocale } from "@/i18n/useLocale";
import { exact } from "@/lib/numbers";

const column = createColumnHelper<TableFeatures, Route>();

/** The conditions in words, in the order they are checked. */
export function matchWords(
  t: TFunction<["routes", "common"]>,
  match: Route["match"],
  locale: string,
): string[] {
  const list = (label: string, values: string[]) =>
    values.length > 0 ? [`${label} ${values.join(", ")}`] : [];
  const from = match.min_input_tokens;
  const to = match.max_input_tokens;
  return [
    ...list(t("match.models"), match.models),
    ...list(t("match.tenants"), match.tenants),
    ...list(t("match.projects"), match.projects),
    ...list(t("match.tags"), match.tags),
    ...Object.entries(match.headers).map(([name, value]) => `${name}: ${value}`),
    ...(from === null ? [] : [t("match.from", { tokens: exact(from, locale) })]),
    ...(to === null ? [] : [t("match.upTo", { tokens: exact(to, locale) })]),
  ];
}

export function useRouteColumns(): Column<Route>[] {
  const { t } = useTranslation(["routes", "common"]);
  const locale = useLocale();
  return useMemo(
    () => [
      column.display({
        id: "position",
        header: t("positionShort"),
        meta: { align: "right" as const },
        cell: ({ row: { original } }) => original.position,
      }),
      column.display({
        id: "name",
        header: t("common:name"),
        cell: ({ row: { original } }) => <strong>{original.name}</strong>,
      }),
      column.display({
        id: "status",
        header: t("common:status"),
        cell: ({ row: { original } }) => <State value={original.status} />,
      }),
      column.display({
        id: "match",
        header: t("match.title"),
        cell: ({ row: { original } }) =>
          matchWords(t, original.match, locale).join(" · ") || t("match.everything"),
      }),
      column.display({
        id: "targets",
        header: t("targets"),
        meta: { from: "sm" as const },
        cell: ({ row: { original } }) =>
          [...new Set(original.targets.map(({ upstream }) => upstream))].join(", "),
      }),
      column.display({
        id: "choose",
        header: t("choose"),
        meta: { from: "md" as const },
        cell: ({ row: { original } }) =>
          [
            t(`strategies.${original.routing.strategy}`),
            original.routing.split ? t("split.short") : "",
            original.routing.hedge ? t("hedge.short") : "",
          ]
            .filter(Boolean)
            .join(" · "),
      }),
    ],
    [t, locale],
  );
}
