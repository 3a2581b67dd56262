import { Button } from "@mantine/core";
import { createColumnHelper } from "@tanstack/react-table";
import { useMemo } from "react";
import { useTranslation } from "react-i18next";
import { useMay } from "@/api/session";
import type { LiveRequest } from "@/api/types";
import { Absent, CountText } from "@/components/Figures";
import { Id } from "@/components/Id";
import { Meaning, type Tone } from "@/components/Meaning";
import type { Column, TableFeatures } from "@/components/table/features";
import { duration } from "@/lib/numbers";

const TONES = {
  waiting: "quiet",
  connecting: "info",
  first_token: "info",
  streaming: "good",
} as const satisfies Record<LiveRequest["phase"], Tone>;

const column = createColumnHelper<TableFeatures, LiveRequest>();

/** `now` is when the list was read, so that ages belong to what is shown. */
export function useLiveColumns(
  now: number,
  onCancel: (request: LiveRequest) => void,
): Column<LiveRequest>[] {
  const { t } = useTranslation(["live", "common"]);
  const cancels = useMay()("in_flight.cancel");
  return useMemo(
    () => [
      column.display({
        id: "age",
        header: t("age"),
        meta: { align: "right" as const },
        cell: ({ row: { original } }) => (
          <span className="tg-nowrap">
            {duration(Math.max(0, now - Date.parse(original.accepted_at)))}
          </span>
        ),
      }),
      column.display({
        id: "phase",
        header: t("phase"),
        cell: ({ row: { original } }) => (
          <Meaning tone={TONES[original.phase]}>{t(`phases.${original.phase}`)}</Meaning>
        ),
      }),
      column.display({
        id: "tenant",
        header: t("tenant"),
        cell: ({ row: { original } }) => (
          <>
            <strong>{original.tenant_name}</strong> {original.key_name}
          </>
        ),
      }),
      column.display({
        id: "model",
        header: t("model"),
        cell: ({ row: { original } }) => original.model,
      }),
      column.display({
        id: "upstream",
        header: t("upstream"),
        meta: { from: "sm" as const },
        cell: ({ row: { original } }) =>
          original.upstream_name ? (
            [original.upstream_name, original.credential_name].filter(Boolean).join(" · ")
          ) : (
            <Absent />
          ),
      }),
      column.display({
        id: "attempt",
        header: t("attempt"),
        meta: { align: "right" as const, from: "md" as const },
        cell: ({ row: { original } }) => original.attempt || <Absent />,
      }),
      column.display({
        id: "tokens",
        header: t("tokens"),
        meta: { align: "right" as const },
        cell: ({ row: { original } }) => <CountText value={original.output_tokens} />,
      }),
      column.display({
        id: "id",
        header: t("common:id"),
        meta: { from: "lg" as const },
        cell: ({ row: { original } }) => <Id value={original.request_id} />,
      }),
      ...(cancels
        ? [
            column.display({
              id: "cancel",
              header: "",
              cell: ({ row: { original } }) => (
                <Button variant="default" size="compact-xs" onClick={() => onCancel(original)}>
                  {t("cancel")}
                </Button>
              ),
            }),
          ]
        : []),
    ],
    [t, now, cancels, onCancel],
  );
}
