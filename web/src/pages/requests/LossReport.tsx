import { Text } from "@mantine/core";
import { useTranslation } from "react-i18next";
import { Facts } from "@/components/DetailDrawer";
import { Note } from "@/components/Meaning";
import { readLoss } from "./lossReport";

/** What the other dialect could not say, field by field. */
export function LossReport({ loss }: { loss: string | null }) {
  const { t } = useTranslation(["requests", "common"]);
  const groups = readLoss(loss ?? "");
  if (groups.length === 0) {
    return (
      <Text fz="sm" c="dimmed">
        {t("loss.none")}
      </Text>
    );
  }
  const count = groups.reduce((sum, { fields }) => sum + fields.length, 0);
  return (
    <Note tone="warning" title={t("loss.some", { count })}>
      <Facts
        rows={groups.map(({ verdict, fields }) => [
          t(`loss.verdict.${verdict}`),
          <span key={verdict} className="tg-mono">
            {fields.join(", ")}
          </span>,
        ])}
      />
    </Note>
  );
}
